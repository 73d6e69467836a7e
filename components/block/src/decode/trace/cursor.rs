//! Cursors over the columns of one row: typed reads that check the repetition level they expect.

use super::super::{
    DecodeError,
    column::LeafRow,
    layout::{Column, Group, Plan, PlannedLeaf},
    values::Values,
};

/// The most bytes of text, and of structs around them, one trace may take when assembled.
const MAX_TRACE_BYTES: usize = 2 << 30;

pub(super) struct Cursors<'p> {
    plan: &'p Plan,
    cursors: Vec<Cursor>,
    /// What is left of `MAX_TRACE_BYTES`: a dictionary entry of a megabyte may be named a million times.
    budget: usize,
}

/// How to read the values of a column that may have any type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueKind {
    String,
    Int,
    Double,
    Bool,
}

struct Cursor {
    row: LeafRow,
    max_def: u8,
    max_rep: u8,
    /// Next entry.
    slot: usize,
    /// Next value: entries less nulls.
    value: usize,
}

impl<'p> Cursors<'p> {
    pub(super) fn new(plan: &'p Plan, rows: Vec<LeafRow>) -> Cursors<'p> {
        debug_assert_eq!(plan.leaves.len(), rows.len(), "a row has an entry for each planned leaf");
        let cursor = |(planned, row): (&PlannedLeaf, LeafRow)| Cursor {
            row,
            max_def: planned.leaf.max_def,
            max_rep: planned.leaf.max_rep,
            slot: 0,
            value: 0,
        };
        let cursors = plan.leaves.iter().zip(rows).map(cursor).collect();
        Cursors { plan, cursors, budget: MAX_TRACE_BYTES }
    }

    pub(super) fn error(&self, column: Column, problem: &'static str) -> DecodeError {
        let path = self.plan.leaves.get(column).map_or("", |planned| planned.leaf.path.as_str());
        DecodeError::new(0, problem).in_column(path)
    }

    /// Takes bytes from the budget of the trace.
    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), DecodeError> {
        let left = self.budget.checked_sub(bytes);
        self.budget =
            left.ok_or_else(|| DecodeError::new(0, "trace is larger than this program assembles"))?;
        Ok(())
    }

    /// Moves past the next entry, which must have this repetition level; the index of its value, if it has one.
    fn take(&mut self, column: Column, rep: u8) -> Result<Option<usize>, DecodeError> {
        let taken = self.cursors.get_mut(column).and_then(|cursor| {
            let def = *cursor.row.defs.get(cursor.slot)?;
            if *cursor.row.reps.get(cursor.slot)? != rep {
                return None;
            }
            cursor.slot += 1;
            let value = (def == cursor.max_def).then_some(cursor.value);
            cursor.value += usize::from(value.is_some());
            Some(value)
        });
        taken.ok_or_else(|| self.error(column, "entries do not fit those of the other columns"))
    }

    /// True if the group has elements here; if not, every column's empty entry is passed.
    pub(super) fn starts(&mut self, group: &Group, rep: u8) -> Result<bool, DecodeError> {
        if self.has_value(group.driver) {
            return Ok(true);
        }
        for column in group.all.clone() {
            if self.take(column, rep)?.is_some() {
                return Err(self.error(column, "a value where the other columns have none"));
            }
        }
        Ok(false)
    }

    /// The repetition level of the group's next element, if one follows in the same list.
    pub(super) fn repeats(&self, group: &Group) -> Option<u8> {
        self.next_in_list(group.driver)
    }

    /// The repetition level of a repeated column, if its next entry continues the list.
    pub(super) fn next_in_list(&self, column: Column) -> Option<u8> {
        let cursor = self.cursors.get(column)?;
        (*cursor.row.reps.get(cursor.slot)? == cursor.max_rep).then_some(cursor.max_rep)
    }

    pub(super) fn has_value(&self, column: Column) -> bool {
        let next = self.cursors.get(column).map(|c| c.row.defs.get(c.slot) == Some(&c.max_def));
        next.unwrap_or(false)
    }

    /// The type of a column, by what it holds in this row.
    pub(super) fn value_kind(&self, column: Column) -> ValueKind {
        match self.cursors.get(column).map(|c| &c.row.values) {
            Some(Values::Bools(_)) => ValueKind::Bool,
            Some(Values::Ints(_)) => ValueKind::Int,
            Some(Values::Doubles(_)) => ValueKind::Double,
            // A column without values gives nothing, whatever it is read as.
            Some(Values::Strings { .. } | Values::None) | None => ValueKind::String,
        }
    }

    pub(super) fn expect_end(&self) -> Result<(), DecodeError> {
        let left = self.cursors.iter().position(|c| c.slot < c.row.reps.len());
        match left {
            Some(column) => Err(self.error(column, "more entries than the other columns have")),
            None => Ok(()),
        }
    }

    fn text(&self, column: Column, value: usize) -> Result<&[u8], DecodeError> {
        let bytes = match self.cursors.get(column).map(|c| &c.row.values) {
            Some(Values::Strings { buffer, ranges }) => {
                ranges.get(value).and_then(|r| buffer.get(r.start as usize..r.end as usize))
            }
            Some(Values::None | Values::Bools(_) | Values::Ints(_) | Values::Doubles(_)) | None => None,
        };
        bytes.ok_or_else(|| self.error(column, "not a column of strings"))
    }

    pub(super) fn optional_bytes(&mut self, column: Column, rep: u8) -> Result<Option<Vec<u8>>, DecodeError> {
        let Some(value) = self.take(column, rep)? else { return Ok(None) };
        self.spend(self.text(column, value)?.len())?;
        Ok(Some(self.text(column, value)?.to_vec()))
    }

    /// Text is UTF-8 by contract; what is not is replaced, not refused.
    pub(super) fn optional_string(&mut self, column: Column, rep: u8) -> Result<Option<String>, DecodeError> {
        let bytes = self.optional_bytes(column, rep)?;
        let lossy =
            |error: std::string::FromUtf8Error| String::from_utf8_lossy(error.as_bytes()).into_owned();
        Ok(bytes.map(|bytes| String::from_utf8(bytes).unwrap_or_else(lossy)))
    }

    pub(super) fn optional_int(&mut self, column: Column, rep: u8) -> Result<Option<i64>, DecodeError> {
        let Some(value) = self.take(column, rep)? else { return Ok(None) };
        let int = match self.cursors.get(column).map(|c| &c.row.values) {
            Some(Values::Ints(values)) => values.get(value).copied(),
            Some(Values::None | Values::Bools(_) | Values::Strings { .. } | Values::Doubles(_)) | None => {
                None
            }
        };
        int.map(Some).ok_or_else(|| self.error(column, "not a column of integers"))
    }

    pub(super) fn optional_double(&mut self, column: Column, rep: u8) -> Result<Option<f64>, DecodeError> {
        let Some(value) = self.take(column, rep)? else { return Ok(None) };
        let double = match self.cursors.get(column).map(|c| &c.row.values) {
            Some(Values::Doubles(values)) => values.get(value).copied(),
            Some(Values::None | Values::Bools(_) | Values::Strings { .. } | Values::Ints(_)) | None => None,
        };
        double.map(Some).ok_or_else(|| self.error(column, "not a column of doubles"))
    }

    pub(super) fn optional_bool(&mut self, column: Column, rep: u8) -> Result<Option<bool>, DecodeError> {
        let Some(value) = self.take(column, rep)? else { return Ok(None) };
        let boolean = match self.cursors.get(column).map(|c| &c.row.values) {
            Some(Values::Bools(values)) => values.get(value).copied(),
            Some(Values::None | Values::Doubles(_) | Values::Strings { .. } | Values::Ints(_)) | None => None,
        };
        boolean.map(Some).ok_or_else(|| self.error(column, "not a column of booleans"))
    }

    fn required<T>(&self, column: Column, value: Option<T>) -> Result<T, DecodeError> {
        value.ok_or_else(|| self.error(column, "a value is missing"))
    }

    pub(super) fn bytes(&mut self, column: Column, rep: u8) -> Result<Vec<u8>, DecodeError> {
        let value = self.optional_bytes(column, rep)?;
        self.required(column, value)
    }

    pub(super) fn string(&mut self, column: Column, rep: u8) -> Result<String, DecodeError> {
        let value = self.optional_string(column, rep)?;
        self.required(column, value)
    }

    pub(super) fn bool(&mut self, column: Column, rep: u8) -> Result<bool, DecodeError> {
        let value = self.optional_bool(column, rep)?;
        self.required(column, value)
    }

    pub(super) fn int(&mut self, column: Column, rep: u8) -> Result<i64, DecodeError> {
        let value = self.optional_int(column, rep)?;
        self.required(column, value)
    }

    /// Times and durations, stored as unsigned.
    pub(super) fn nanos(&mut self, column: Column, rep: u8) -> Result<u64, DecodeError> {
        Ok(self.int(column, rep)?.cast_unsigned())
    }

    /// Kinds and status codes; numbers that no enum has are read as 0.
    pub(super) fn number(&mut self, column: Column, rep: u8) -> Result<i32, DecodeError> {
        Ok(i32::try_from(self.int(column, rep)?).unwrap_or(0))
    }

    /// Dropped counts, unsigned in OTLP and stored as signed 32-bit numbers.
    pub(super) fn count(&mut self, column: Column, rep: u8) -> Result<u32, DecodeError> {
        let value = self.int(column, rep)?;
        Ok(i32::try_from(value).map(i32::cast_unsigned).unwrap_or(0))
    }
}
