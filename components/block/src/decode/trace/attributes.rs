//! Attributes of one element: named columns, then the list of all others.

use prost::Message;
use tempo_model::json;
use tempo_proto::common::{AnyValue, ArrayValue, KeyValue, any_value::Value};

use super::{
    super::{
        DecodeError,
        layout::{AttributeColumns, AttributeValueColumns, Column, NamedColumn},
    },
    DECODED_MESSAGE_FACTOR,
    cursor::{Cursors, ValueKind},
};

/// An attribute and its value as structs, besides their text.
const ATTRIBUTE_BYTES: usize = size_of::<KeyValue>();

pub(super) fn string(key: &str, value: String) -> KeyValue {
    key_value(key.to_owned(), Some(Value::StringValue(value)))
}

fn key_value(key: String, value: Option<Value>) -> KeyValue {
    KeyValue { key, value: Some(AnyValue { value }), key_strindex: 0 }
}

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

impl Cursors<'_> {
    /// Appends the attributes that have a column of their own.
    pub(super) fn named(
        &mut self,
        columns: &[NamedColumn],
        rep: u8,
        out: &mut Vec<KeyValue>,
    ) -> Result<(), DecodeError> {
        for named in columns {
            let value = if named.is_list {
                let mut values = Vec::new();
                self.values(named.column, rep, &mut values)?;
                one_or_array(values)
            } else {
                self.value(named.column, rep)?
            };
            if let Some(value) = value {
                self.spend(ATTRIBUTE_BYTES + named.key.len())?;
                out.push(key_value(named.key.clone(), Some(value)));
            }
        }
        Ok(())
    }

    /// Appends the attributes of the generic list.
    pub(super) fn attributes(
        &mut self,
        columns: &AttributeColumns,
        rep: u8,
        out: &mut Vec<KeyValue>,
    ) -> Result<(), DecodeError> {
        if !self.starts(&columns.group, rep)? {
            return Ok(());
        }
        let mut rep = Some(rep);
        while let Some(level) = rep {
            self.spend(ATTRIBUTE_BYTES)?;
            let key = self.string(columns.key, level)?;
            let value = self.attribute_value(columns, level)?;
            if value.is_some() || columns.keeps_empty {
                out.push(KeyValue { key, value: Some(value.unwrap_or_default()), key_strindex: 0 });
            }
            rep = self.repeats(&columns.group);
        }
        Ok(())
    }

    /// The value of one attribute; `None` if nothing is stored for it.
    fn attribute_value(
        &mut self,
        columns: &AttributeColumns,
        rep: u8,
    ) -> Result<Option<AnyValue>, DecodeError> {
        match columns.value {
            AttributeValueColumns::Lists { is_array, string, int, double, boolean, other } => {
                let is_array = self.bool(is_array, rep)?;
                let mut values = Vec::new();
                for column in [string, int, double, boolean] {
                    self.values(column, rep, &mut values)?;
                }
                let other = self.optional_string(other, rep)?;
                if is_array {
                    return Ok(Some(any(Value::ArrayValue(ArrayValue { values }))));
                }
                let first = values.into_iter().next();
                match (first, other) {
                    (Some(first), _) => Ok(Some(first)),
                    (None, Some(text)) => self.json(text).map(Some),
                    (None, None) => Ok(None),
                }
            }
            AttributeValueColumns::Optional { string, int, double, boolean, map, array } => {
                // Each column moves on, whichever of them has the value.
                let string = self.optional_string(string, rep)?.map(Value::StringValue);
                let int = self.optional_int(int, rep)?.map(Value::IntValue);
                let double = self.optional_double(double, rep)?.map(Value::DoubleValue);
                let boolean = self.optional_bool(boolean, rep)?.map(Value::BoolValue);
                let map = self.optional_string(map, rep)?;
                let array = self.optional_string(array, rep)?;
                match (string.or(int).or(double).or(boolean), array.or(map)) {
                    (Some(value), _) => Ok(Some(any(value))),
                    (None, Some(text)) => self.json(text).map(Some),
                    (None, None) => Ok(None),
                }
            }
            AttributeValueColumns::Message { value } => self.message(value, rep).map(Some),
        }
    }

    /// Protobuf JSON of a value without a column. What does not parse is kept as text.
    fn json(&mut self, text: String) -> Result<AnyValue, DecodeError> {
        self.spend(text.len().saturating_mul(DECODED_MESSAGE_FACTOR / 4))?;
        Ok(json::parse_any_value(&text).unwrap_or_else(|| any(Value::StringValue(text))))
    }

    fn message(&mut self, column: Column, rep: u8) -> Result<AnyValue, DecodeError> {
        let bytes = self.bytes(column, rep)?;
        self.spend(bytes.len().saturating_mul(DECODED_MESSAGE_FACTOR))?;
        if let Ok(value) = AnyValue::decode(bytes.as_slice()) {
            return Ok(value);
        }
        self.json(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// One entry of an optional column.
    fn value(&mut self, column: Column, rep: u8) -> Result<Option<Value>, DecodeError> {
        Ok(match self.value_kind(column) {
            ValueKind::String => self.optional_string(column, rep)?.map(Value::StringValue),
            ValueKind::Int => self.optional_int(column, rep)?.map(Value::IntValue),
            ValueKind::Double => self.optional_double(column, rep)?.map(Value::DoubleValue),
            ValueKind::Bool => self.optional_bool(column, rep)?.map(Value::BoolValue),
        })
    }

    /// Appends the entries of a repeated column.
    fn values(&mut self, column: Column, rep: u8, out: &mut Vec<AnyValue>) -> Result<(), DecodeError> {
        let mut rep = Some(rep);
        while let Some(level) = rep {
            match self.value(column, level)? {
                Some(value) => {
                    self.spend(size_of::<AnyValue>())?;
                    out.push(any(value));
                }
                None => return Ok(()),
            }
            rep = self.next_in_list(column);
        }
        Ok(())
    }
}

fn one_or_array(mut values: Vec<AnyValue>) -> Option<Value> {
    if values.len() > 1 {
        return Some(Value::ArrayValue(ArrayValue { values }));
    }
    values.pop()?.value
}
