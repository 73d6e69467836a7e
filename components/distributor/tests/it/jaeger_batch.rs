//! Jaeger batches as data, and their bytes in every encoding: Thrift is written by hand here, field by field as the IDL
//! has them, protobuf by prost.

use prost::Message as _;
use tempo_proto::jaeger as proto;

#[derive(Debug, Clone, Default)]
pub(crate) struct Batch {
    pub(crate) service: String,
    pub(crate) process_tags: Vec<(String, Tag)>,
    pub(crate) spans: Vec<Span>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Span {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    /// Thrift only; protobuf has references.
    pub(crate) parent_span_id: u64,
    pub(crate) name: String,
    pub(crate) references: Vec<Reference>,
    pub(crate) start_micros: i64,
    pub(crate) duration_micros: i64,
    pub(crate) tags: Vec<(String, Tag)>,
    pub(crate) logs: Vec<(i64, Vec<(String, Tag)>)>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Reference {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    pub(crate) follows_from: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Tag {
    Text(String),
    Double(f64),
    Bool(bool),
    Long(i64),
    Binary(Vec<u8>),
}

pub(crate) fn tag(key: &str, value: Tag) -> (String, Tag) {
    (key.to_owned(), value)
}

pub(crate) fn text(key: &str, value: &str) -> (String, Tag) {
    tag(key, Tag::Text(value.to_owned()))
}

/// One Thrift encoding.
pub(crate) trait Encoding {
    fn message(out: &mut Vec<u8>, name: &str);
    /// Head of a field; `previous` is the field before.
    fn field(out: &mut Vec<u8>, previous: &mut i16, id: i16, kind: Kind);
    fn bool_field(out: &mut Vec<u8>, previous: &mut i16, id: i16, value: bool);
    fn structs(out: &mut Vec<u8>, len: usize);
    fn i32(out: &mut Vec<u8>, value: i32);
    fn i64(out: &mut Vec<u8>, value: i64);
    fn double(out: &mut Vec<u8>, value: f64);
    fn binary(out: &mut Vec<u8>, value: &[u8]);
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    I32,
    I64,
    Double,
    Binary,
    Struct,
    List,
}

pub(crate) struct Binary;
pub(crate) struct Compact;

impl Encoding for Binary {
    fn message(out: &mut Vec<u8>, name: &str) {
        out.extend_from_slice(&[0x80, 1, 0, 4]);
        Self::binary(out, name.as_bytes());
        Self::i32(out, 0);
    }

    fn field(out: &mut Vec<u8>, _: &mut i16, id: i16, kind: Kind) {
        out.push(match kind {
            Kind::I32 => 8,
            Kind::I64 => 10,
            Kind::Double => 4,
            Kind::Binary => 11,
            Kind::Struct => 12,
            Kind::List => 15,
        });
        out.extend_from_slice(&id.to_be_bytes());
    }

    fn bool_field(out: &mut Vec<u8>, _: &mut i16, id: i16, value: bool) {
        out.push(2);
        out.extend_from_slice(&id.to_be_bytes());
        out.push(u8::from(value));
    }

    fn structs(out: &mut Vec<u8>, len: usize) {
        out.push(12);
        Self::i32(out, i32::try_from(len).unwrap());
    }

    fn i32(out: &mut Vec<u8>, value: i32) {
        out.extend_from_slice(&value.to_be_bytes());
    }

    fn i64(out: &mut Vec<u8>, value: i64) {
        out.extend_from_slice(&value.to_be_bytes());
    }

    fn double(out: &mut Vec<u8>, value: f64) {
        out.extend_from_slice(&value.to_be_bytes());
    }

    fn binary(out: &mut Vec<u8>, value: &[u8]) {
        Self::i32(out, i32::try_from(value.len()).unwrap());
        out.extend_from_slice(value);
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

impl Compact {
    fn head(out: &mut Vec<u8>, previous: &mut i16, id: i16, code: u8) {
        match u8::try_from(id - *previous) {
            Ok(delta @ 1..=15) => out.push(delta << 4 | code),
            _ => {
                out.push(code);
                varint(out, zigzag(i64::from(id)));
            }
        }
        *previous = id;
    }
}

impl Encoding for Compact {
    fn message(out: &mut Vec<u8>, name: &str) {
        out.extend_from_slice(&[0x82, 0x81, 0]);
        Self::binary(out, name.as_bytes());
    }

    fn field(out: &mut Vec<u8>, previous: &mut i16, id: i16, kind: Kind) {
        let code = match kind {
            Kind::I32 => 5,
            Kind::I64 => 6,
            Kind::Double => 7,
            Kind::Binary => 8,
            Kind::List => 9,
            Kind::Struct => 12,
        };
        Self::head(out, previous, id, code);
    }

    fn bool_field(out: &mut Vec<u8>, previous: &mut i16, id: i16, value: bool) {
        Self::head(out, previous, id, if value { 1 } else { 2 });
    }

    fn structs(out: &mut Vec<u8>, len: usize) {
        match u8::try_from(len) {
            Ok(short @ ..15) => out.push(short << 4 | 12),
            _ => {
                out.push(0xfc);
                varint(out, len as u64);
            }
        }
    }

    fn i32(out: &mut Vec<u8>, value: i32) {
        varint(out, zigzag(i64::from(value)));
    }

    fn i64(out: &mut Vec<u8>, value: i64) {
        varint(out, zigzag(value));
    }

    fn double(out: &mut Vec<u8>, value: f64) {
        out.extend_from_slice(&value.to_le_bytes());
    }

    fn binary(out: &mut Vec<u8>, value: &[u8]) {
        varint(out, value.len() as u64);
        out.extend_from_slice(value);
    }
}

impl Batch {
    /// An `emitBatch` message.
    pub(crate) fn message<E: Encoding>(&self) -> Vec<u8> {
        let mut out = Vec::new();
        E::message(&mut out, "emitBatch");
        E::field(&mut out, &mut 0, 1, Kind::Struct);
        self.thrift::<E>(&mut out);
        out.push(0);
        out
    }

    /// The struct alone.
    pub(crate) fn thrift_batch(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.thrift::<Binary>(&mut out);
        out
    }

    fn thrift<E: Encoding>(&self, out: &mut Vec<u8>) {
        let mut field = 0;
        E::field(out, &mut field, 1, Kind::Struct);
        let mut process = 0;
        E::field(out, &mut process, 1, Kind::Binary);
        E::binary(out, self.service.as_bytes());
        tags::<E>(out, &mut process, 2, &self.process_tags);
        out.push(0);
        E::field(out, &mut field, 2, Kind::List);
        E::structs(out, self.spans.len());
        for span in &self.spans {
            span.thrift::<E>(out);
        }
        out.push(0);
    }

    /// A `PostSpansRequest`.
    pub(crate) fn post_spans(&self) -> Vec<u8> {
        let process =
            proto::Process { service_name: self.service.clone(), tags: proto_tags(&self.process_tags) };
        let spans = self.spans.iter().map(Span::proto).collect();
        let batch = proto::Batch { spans, process: Some(process) };
        proto::PostSpansRequest { batch: Some(batch) }.encode_to_vec()
    }
}

impl Span {
    fn thrift<E: Encoding>(&self, out: &mut Vec<u8>) {
        let mut field = 0;
        let (high, low) = halves(self.trace_id);
        for (id, value) in
            [(1, low), (2, high), (3, self.span_id.cast_signed()), (4, self.parent_span_id.cast_signed())]
        {
            E::field(out, &mut field, id, Kind::I64);
            E::i64(out, value);
        }
        E::field(out, &mut field, 5, Kind::Binary);
        E::binary(out, self.name.as_bytes());
        if !self.references.is_empty() {
            E::field(out, &mut field, 6, Kind::List);
            E::structs(out, self.references.len());
            for reference in &self.references {
                let mut field = 0;
                let (high, low) = halves(reference.trace_id);
                E::field(out, &mut field, 1, Kind::I32);
                E::i32(out, i32::from(reference.follows_from));
                for (id, value) in [(2, low), (3, high), (4, reference.span_id.cast_signed())] {
                    E::field(out, &mut field, id, Kind::I64);
                    E::i64(out, value);
                }
                out.push(0);
            }
        }
        E::field(out, &mut field, 7, Kind::I32);
        E::i32(out, 1);
        for (id, value) in [(8, self.start_micros), (9, self.duration_micros)] {
            E::field(out, &mut field, id, Kind::I64);
            E::i64(out, value);
        }
        tags::<E>(out, &mut field, 10, &self.tags);
        E::field(out, &mut field, 11, Kind::List);
        E::structs(out, self.logs.len());
        for (micros, fields) in &self.logs {
            let mut field = 0;
            E::field(out, &mut field, 1, Kind::I64);
            E::i64(out, *micros);
            tags::<E>(out, &mut field, 2, fields);
            out.push(0);
        }
        out.push(0);
    }

    fn proto(&self) -> proto::Span {
        let parent = (self.parent_span_id != 0).then_some(Reference {
            trace_id: self.trace_id,
            span_id: self.parent_span_id,
            follows_from: false,
        });
        let reference = |reference: Reference| proto::SpanRef {
            trace_id: reference.trace_id.to_be_bytes().to_vec().into(),
            span_id: reference.span_id.to_be_bytes().to_vec().into(),
            ref_type: i32::from(reference.follows_from),
        };
        let log = |(micros, fields): &(i64, Vec<(String, Tag)>)| proto::Log {
            timestamp: seconds_and_nanos(*micros),
            fields: proto_tags(fields),
        };
        proto::Span {
            trace_id: self.trace_id.to_be_bytes().to_vec().into(),
            span_id: self.span_id.to_be_bytes().to_vec().into(),
            operation_name: self.name.clone(),
            references: parent.into_iter().chain(self.references.iter().copied()).map(reference).collect(),
            flags: 1,
            start_time: seconds_and_nanos(self.start_micros),
            duration: seconds_and_nanos(self.duration_micros),
            tags: proto_tags(&self.tags),
            logs: self.logs.iter().map(log).collect(),
            process: None,
            process_id: String::new(),
            warnings: vec!["clock skew".to_owned()],
        }
    }
}

fn halves(trace_id: u128) -> (i64, i64) {
    let bytes = trace_id.to_be_bytes();
    let (high, low) = bytes.split_at(8);
    (i64::from_be_bytes(high.try_into().unwrap()), i64::from_be_bytes(low.try_into().unwrap()))
}

fn tags<E: Encoding>(out: &mut Vec<u8>, field: &mut i16, id: i16, tags: &[(String, Tag)]) {
    E::field(out, field, id, Kind::List);
    E::structs(out, tags.len());
    for (key, value) in tags {
        let mut field = 0;
        E::field(out, &mut field, 1, Kind::Binary);
        E::binary(out, key.as_bytes());
        E::field(out, &mut field, 2, Kind::I32);
        let kind = match value {
            Tag::Text(_) => 0,
            Tag::Double(_) => 1,
            Tag::Bool(_) => 2,
            Tag::Long(_) => 3,
            Tag::Binary(_) => 4,
        };
        E::i32(out, kind);
        match value {
            Tag::Text(value) => {
                E::field(out, &mut field, 3, Kind::Binary);
                E::binary(out, value.as_bytes());
            }
            Tag::Double(value) => {
                E::field(out, &mut field, 4, Kind::Double);
                E::double(out, *value);
            }
            Tag::Bool(value) => E::bool_field(out, &mut field, 5, *value),
            Tag::Long(value) => {
                E::field(out, &mut field, 6, Kind::I64);
                E::i64(out, *value);
            }
            Tag::Binary(value) => {
                E::field(out, &mut field, 7, Kind::Binary);
                E::binary(out, value);
            }
        }
        out.push(0);
    }
}

fn proto_tags(tags: &[(String, Tag)]) -> Vec<proto::KeyValue> {
    let one = |(key, value): &(String, Tag)| {
        let mut tag = proto::KeyValue { key: key.clone(), ..proto::KeyValue::default() };
        match value {
            Tag::Text(value) => tag.v_str.clone_from(value),
            Tag::Bool(value) => (tag.v_type, tag.v_bool) = (1, *value),
            Tag::Long(value) => (tag.v_type, tag.v_int64) = (2, *value),
            Tag::Double(value) => (tag.v_type, tag.v_float64) = (3, *value),
            Tag::Binary(value) => (tag.v_type, tag.v_binary) = (4, value.clone().into()),
        }
        tag
    };
    tags.iter().map(one).collect()
}

fn seconds_and_nanos(micros: i64) -> Option<proto::SecondsAndNanos> {
    let nanos = i32::try_from(micros % 1_000_000 * 1_000).unwrap();
    Some(proto::SecondsAndNanos { seconds: micros / 1_000_000, nanos })
}
