//! The columns of vParquet4, for writing: 103 leaves in exactly this order.
//!
//! Tempo opens files with its own schema and finds columns by position, so nothing here may move. All groups are
//! required, lists have three levels, and only the columns for single attributes are optional.

use std::sync::Arc;

use parquet::{errors::ParquetError, schema::parser::parse_message_type, schema::types::SchemaDescriptor};

/// Number of leaf columns.
pub(crate) const LEAVES: usize = 103;

const HEAD: &str = "message Trace {
  required binary TraceID;
  required binary TraceIDText (STRING);
  required int64 StartTimeUnixNano (INTEGER(64,false));
  required int64 EndTimeUnixNano (INTEGER(64,false));
  required int64 DurationNano (INTEGER(64,false));
  required binary RootServiceName (STRING);
  required binary RootSpanName (STRING);
  required group ServiceStats (MAP) {
    repeated group key_value {
      required binary key (STRING);
      required group value {
        required int32 SpanCount (INTEGER(32,false));
        required int32 ErrorCount (INTEGER(32,false));
      }
    }
  }
";

const DEDICATED: &str = "required group DedicatedAttributes {
  optional binary String01 (STRING);
  optional binary String02 (STRING);
  optional binary String03 (STRING);
  optional binary String04 (STRING);
  optional binary String05 (STRING);
  optional binary String06 (STRING);
  optional binary String07 (STRING);
  optional binary String08 (STRING);
  optional binary String09 (STRING);
  optional binary String10 (STRING);
}";

const RESOURCE: &str = "required int32 DroppedAttributesCount (INTEGER(32,true));
  required binary ServiceName (STRING);
  optional binary Cluster (STRING);
  optional binary Namespace (STRING);
  optional binary Pod (STRING);
  optional binary Container (STRING);
  optional binary K8sClusterName (STRING);
  optional binary K8sNamespaceName (STRING);
  optional binary K8sPodName (STRING);
  optional binary K8sContainerName (STRING);";

const SPAN: &str = "required binary SpanID;
  required binary ParentSpanID;
  required int32 ParentID (INTEGER(32,true));
  required int32 NestedSetLeft (INTEGER(32,true));
  required int32 NestedSetRight (INTEGER(32,true));
  required binary Name (STRING);
  required int64 Kind (INTEGER(64,true));
  required binary TraceState (STRING);
  required int64 StartTimeUnixNano (INTEGER(64,false));
  required int64 DurationNano (INTEGER(64,false));
  required int64 StatusCode (INTEGER(64,true));
  required binary StatusMessage (STRING);";

const DROPPED_ATTRIBUTES: &str = "required int32 DroppedAttributesCount (INTEGER(32,true));";

/// The schema of the file.
pub(crate) fn schema() -> Result<Arc<SchemaDescriptor>, ParquetError> {
    let attributes = list(
        "Attrs",
        &[
            "required binary Key (STRING);\nrequired boolean IsArray;".to_owned(),
            list_of("Value", "binary element (STRING)"),
            list_of("ValueInt", "int64 element (INTEGER(64,true))"),
            list_of("ValueDouble", "double element"),
            list_of("ValueBool", "boolean element"),
            "optional binary ValueUnsupported (STRING);".to_owned(),
        ]
        .join("\n"),
    );
    let resource = format!("required group Resource {{\n{attributes}\n{RESOURCE}\n{DEDICATED}\n}}");
    let scope = format!(
        "required group Scope {{
  required binary Name (STRING);
  required binary Version (STRING);
  {attributes}
  {DROPPED_ATTRIBUTES}\n}}"
    );
    let events = list(
        "Events",
        &format!(
            "required int64 TimeSinceStartNano (INTEGER(64,false));
  required binary Name (STRING);
  {attributes}
  {DROPPED_ATTRIBUTES}"
        ),
    );
    let links = list(
        "Links",
        &format!(
            "required binary TraceID;
  required binary SpanID;
  required binary TraceState (STRING);
  {attributes}
  {DROPPED_ATTRIBUTES}"
        ),
    );
    let span = format!(
        "{SPAN}\n{attributes}\n{DROPPED_ATTRIBUTES}
  {events}
  required int32 DroppedEventsCount (INTEGER(32,true));
  {links}
  required int32 DroppedLinksCount (INTEGER(32,true));
  optional binary HttpMethod (STRING);
  optional binary HttpUrl (STRING);
  optional int64 HttpStatusCode (INTEGER(64,true));
  {DEDICATED}"
    );
    let scopes = list("ss", &format!("{scope}\n{}", list("Spans", &span)));
    let text = format!("{HEAD}{}\n}}", list("rs", &format!("{resource}\n{scopes}")));
    Ok(Arc::new(SchemaDescriptor::new(Arc::new(parse_message_type(&text)?))))
}

fn list(name: &str, element: &str) -> String {
    format!(
        "required group {name} (LIST) {{ repeated group list {{ required group element {{\n{element}\n}} }} }}"
    )
}

fn list_of(name: &str, element: &str) -> String {
    format!("required group {name} (LIST) {{ repeated group list {{ required {element}; }} }}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_have_tempos_order_and_levels() {
        let schema = schema().unwrap();

        assert_eq!(schema.num_columns(), LEAVES);
        let leaf = |index: usize| {
            let column = schema.column(index);
            (column.path().string(), column.max_def_level(), column.max_rep_level())
        };
        assert_eq!(leaf(7), ("ServiceStats.key_value.key".to_owned(), 1, 1));
        assert_eq!(
            leaf(12),
            ("rs.list.element.Resource.Attrs.list.element.Value.list.element".to_owned(), 3, 3)
        );
        assert_eq!(
            leaf(16),
            ("rs.list.element.Resource.Attrs.list.element.ValueUnsupported".to_owned(), 3, 2)
        );
        assert_eq!(leaf(19), ("rs.list.element.Resource.Cluster".to_owned(), 2, 1));
        let span = "rs.list.element.ss.list.element.Spans.list.element";
        assert_eq!(leaf(47), (format!("{span}.SpanID"), 3, 3));
        assert_eq!(leaf(67), (format!("{span}.Events.list.element.TimeSinceStartNano"), 4, 4));
        assert_eq!(
            leaf(75),
            (format!("{span}.Events.list.element.Attrs.list.element.ValueUnsupported"), 6, 5)
        );
        assert_eq!(leaf(92), (format!("{span}.HttpStatusCode"), 4, 3));
        assert_eq!(leaf(102), (format!("{span}.DedicatedAttributes.String10"), 4, 3));
    }
}
