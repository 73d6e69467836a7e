//! Reads protobuf JSON of one `AnyValue`: what Tempo keeps in `ValueUnsupported`.
//!
//! Written for hostile input: one pass, no recursion deeper than [`MAX_DEPTH`], no allocation that the text does not
//! pay for. Accepts what jsonpb accepts of these messages: proto and JSON names, integers quoted or not, any
//! whitespace, `null` for unset, both base64 alphabets. Anything else, unknown members included, is refused.

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use tempo_proto::common::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value::Value};

/// Values inside values. Protobuf decoders stop at 100 messages, so no stored value can be deeper than 50.
const MAX_DEPTH: usize = 64;

const TOLERANT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// The value, or `None` if `text` is not the JSON of one.
pub fn parse_any_value(text: &str) -> Option<AnyValue> {
    let mut reader = Reader { rest: text };
    let value = reader.any_value(0)?;
    reader.skip_whitespace();
    reader.rest.is_empty().then_some(value)
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip_whitespace(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Takes `token` if it is next.
    fn take(&mut self, token: &str) -> bool {
        self.skip_whitespace();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Option<()> {
        self.take(token).then_some(())
    }

    /// Reads `{"name": value, ...}`; `member` reads the value of the member it is told.
    fn object(&mut self, mut member: impl FnMut(&mut Self, &str) -> Option<()>) -> Option<()> {
        self.expect("{")?;
        if self.take("}") {
            return Some(());
        }
        loop {
            let name = self.string()?;
            self.expect(":")?;
            member(self, &name)?;
            if self.take("}") {
                return Some(());
            }
            self.expect(",")?;
        }
    }

    fn list(&mut self, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        if self.take("null") {
            return Some(());
        }
        self.expect("[")?;
        if self.take("]") {
            return Some(());
        }
        loop {
            element(self)?;
            if self.take("]") {
                return Some(());
            }
            self.expect(",")?;
        }
    }

    fn any_value(&mut self, depth: usize) -> Option<AnyValue> {
        if depth > MAX_DEPTH {
            return None;
        }
        let mut value = None;
        if self.take("null") {
            return Some(AnyValue { value });
        }
        self.object(|reader, name| {
            if reader.take("null") {
                return Some(());
            }
            if value.is_some() {
                return None;
            }
            value = Some(reader.member(name, depth)?);
            Some(())
        })?;
        Some(AnyValue { value })
    }

    fn member(&mut self, name: &str, depth: usize) -> Option<Value> {
        Some(match name {
            "stringValue" | "string_value" => Value::StringValue(self.string()?),
            "boolValue" | "bool_value" => Value::BoolValue(self.boolean()?),
            "intValue" | "int_value" => Value::IntValue(self.scalar()?.parse().ok()?),
            "doubleValue" | "double_value" => Value::DoubleValue(parse_double(&self.scalar()?)?),
            "arrayValue" | "array_value" => {
                let mut values = Vec::new();
                self.object(|reader, name| match name {
                    "values" => reader.list(|reader| {
                        values.push(reader.any_value(depth + 1)?);
                        Some(())
                    }),
                    _ => None,
                })?;
                Value::ArrayValue(ArrayValue { values })
            }
            "kvlistValue" | "kvlist_value" => {
                let mut values = Vec::new();
                self.object(|reader, name| match name {
                    "values" => reader.list(|reader| {
                        values.push(reader.key_value(depth + 1)?);
                        Some(())
                    }),
                    _ => None,
                })?;
                Value::KvlistValue(KeyValueList { values })
            }
            "bytesValue" | "bytes_value" => Value::BytesValue(parse_base64(&self.string()?)?),
            _ => return None,
        })
    }

    fn key_value(&mut self, depth: usize) -> Option<KeyValue> {
        let mut pair = KeyValue::default();
        self.object(|reader, name| {
            match name {
                "key" => pair.key = reader.string()?,
                "value" => {
                    pair.value = if reader.take("null") { None } else { Some(reader.any_value(depth)?) }
                }
                _ => return None,
            }
            Some(())
        })?;
        Some(pair)
    }

    fn boolean(&mut self) -> Option<bool> {
        if self.take("true") {
            return Some(true);
        }
        self.expect("false").map(|()| false)
    }

    /// A number, quoted or not, as text.
    fn scalar(&mut self) -> Option<String> {
        self.skip_whitespace();
        if self.rest.starts_with('"') {
            return self.string();
        }
        let is_number = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
        let end = self.rest.find(|c| !is_number(c)).unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        Some(number.to_owned())
    }

    fn string(&mut self) -> Option<String> {
        self.expect("\"")?;
        let mut text = String::new();
        loop {
            let end = self.rest.find(|c: char| c == '"' || c == '\\' || c < ' ')?;
            let (plain, rest) = self.rest.split_at_checked(end)?;
            text.push_str(plain);
            self.rest = rest;
            if let Some(rest) = self.rest.strip_prefix('"') {
                self.rest = rest;
                return Some(text);
            }
            // Bare control characters are not JSON.
            self.rest = self.rest.strip_prefix('\\')?;
            text.push(self.escape()?);
        }
    }

    fn escape(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let letter = characters.next()?;
        self.rest = characters.as_str();
        Some(match letter {
            '"' | '\\' | '/' => letter,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => self.unicode_escape()?,
            _ => return None,
        })
    }

    /// The four digits after `\u`, and a second escape if they are the first half of a surrogate pair; a half on its
    /// own becomes U+FFFD, as in Go.
    fn unicode_escape(&mut self) -> Option<char> {
        let first = self.four_hex_digits()?;
        if let Some(character) = char::from_u32(first) {
            return Some(character);
        }
        let before = self.rest;
        if (0xd800..0xdc00).contains(&first)
            && let Some(rest) = self.rest.strip_prefix("\\u")
        {
            self.rest = rest;
            let second = self.four_hex_digits()?;
            if (0xdc00..0xe000).contains(&second) {
                return char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00));
            }
            self.rest = before;
        }
        Some(char::REPLACEMENT_CHARACTER)
    }

    fn four_hex_digits(&mut self) -> Option<u32> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        self.rest = rest;
        u32::from_str_radix(digits, 16).ok()
    }
}

fn parse_double(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        // Rust also reads words such as "inf".
        number if number.bytes().any(|byte| byte.is_ascii_digit()) => number.parse().ok(),
        _ => None,
    }
}

fn parse_base64(text: &str) -> Option<Vec<u8>> {
    let alphabet = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    GeneralPurpose::new(&alphabet, TOLERANT).decode(text).ok()
}
