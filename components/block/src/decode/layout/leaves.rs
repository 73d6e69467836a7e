//! The leaf columns of vParquet4 in the order of the file: what a sidecar's reader knows without a footer.

use super::super::footer::{Leaf, Physical};

/// Collects leaves depth-first, keeping path and levels of the open groups.
#[derive(Default)]
struct Schema {
    leaves: Vec<Leaf>,
    path: Vec<&'static str>,
    def: u8,
    rep: u8,
}

/// All 103 leaves.
pub(crate) fn vparquet4() -> Vec<Leaf> {
    use Physical::{ByteArray, Int32, Int64};
    let mut schema = Schema::default();
    schema.required(ByteArray, &["TraceID", "TraceIDText"]);
    schema.required(Int64, &["StartTimeUnixNano", "EndTimeUnixNano", "DurationNano"]);
    schema.required(ByteArray, &["RootServiceName", "RootSpanName"]);
    schema.list(&["ServiceStats", "key_value"], |schema| {
        schema.required(ByteArray, &["key"]);
        schema.group("value", |schema| schema.required(Int32, &["SpanCount", "ErrorCount"]));
    });
    schema.list(&["rs", "list", "element"], |schema| {
        schema.group("Resource", resource);
        schema.list(&["ss", "list", "element"], |schema| {
            schema.group("Scope", |schema| {
                schema.required(ByteArray, &["Name", "Version"]);
                schema.attributes();
                schema.required(Int32, &["DroppedAttributesCount"]);
            });
            schema.list(&["Spans", "list", "element"], span);
        });
    });
    schema.leaves
}

fn resource(schema: &mut Schema) {
    schema.attributes();
    schema.required(Physical::Int32, &["DroppedAttributesCount"]);
    schema.required(Physical::ByteArray, &["ServiceName"]);
    schema.optional(Physical::ByteArray, &["Cluster", "Namespace", "Pod", "Container"]);
    let kubernetes = ["K8sClusterName", "K8sNamespaceName", "K8sPodName", "K8sContainerName"];
    schema.optional(Physical::ByteArray, &kubernetes);
    schema.dedicated();
}

fn span(schema: &mut Schema) {
    use Physical::{ByteArray, Int32, Int64};
    schema.required(ByteArray, &["SpanID", "ParentSpanID"]);
    schema.required(Int32, &["ParentID", "NestedSetLeft", "NestedSetRight"]);
    schema.required(ByteArray, &["Name"]);
    schema.required(Int64, &["Kind"]);
    schema.required(ByteArray, &["TraceState"]);
    schema.required(Int64, &["StartTimeUnixNano", "DurationNano", "StatusCode"]);
    schema.required(ByteArray, &["StatusMessage"]);
    schema.attributes();
    schema.required(Int32, &["DroppedAttributesCount"]);
    schema.list(&["Events", "list", "element"], |schema| {
        schema.required(Int64, &["TimeSinceStartNano"]);
        schema.required(ByteArray, &["Name"]);
        schema.attributes();
        schema.required(Int32, &["DroppedAttributesCount"]);
    });
    schema.required(Int32, &["DroppedEventsCount"]);
    schema.list(&["Links", "list", "element"], |schema| {
        schema.required(ByteArray, &["TraceID", "SpanID", "TraceState"]);
        schema.attributes();
        schema.required(Int32, &["DroppedAttributesCount"]);
    });
    schema.required(Int32, &["DroppedLinksCount"]);
    schema.optional(ByteArray, &["HttpMethod", "HttpUrl"]);
    schema.optional(Int64, &["HttpStatusCode"]);
    schema.dedicated();
}

impl Schema {
    fn required(&mut self, physical: Physical, names: &[&'static str]) {
        for name in names {
            self.path.push(name);
            let leaf = Leaf { path: self.path.join("."), physical, max_def: self.def, max_rep: self.rep };
            self.leaves.push(leaf);
            self.path.pop();
        }
    }

    fn optional(&mut self, physical: Physical, names: &[&'static str]) {
        self.def += 1;
        self.required(physical, names);
        self.def -= 1;
    }

    fn group(&mut self, name: &'static str, inner: impl FnOnce(&mut Schema)) {
        self.path.push(name);
        inner(self);
        self.path.pop();
    }

    fn list(&mut self, path: &[&'static str], inner: impl FnOnce(&mut Schema)) {
        let depth = self.path.len();
        self.path.extend(path);
        self.def += 1;
        self.rep += 1;
        inner(self);
        self.def -= 1;
        self.rep -= 1;
        self.path.truncate(depth);
    }

    fn attributes(&mut self) {
        use Physical::{Boolean, ByteArray, Double, Int64};
        self.list(&["Attrs", "list", "element"], |schema| {
            schema.required(ByteArray, &["Key"]);
            schema.required(Boolean, &["IsArray"]);
            for (name, physical) in
                [("Value", ByteArray), ("ValueInt", Int64), ("ValueDouble", Double), ("ValueBool", Boolean)]
            {
                schema.group(name, |schema| {
                    schema.list(&["list"], |schema| schema.required(physical, &["element"]))
                });
            }
            schema.optional(ByteArray, &["ValueUnsupported"]);
        });
    }

    fn dedicated(&mut self) {
        let spares = [
            "String01", "String02", "String03", "String04", "String05", "String06", "String07", "String08",
            "String09", "String10",
        ];
        self.group("DedicatedAttributes", |schema| schema.optional(Physical::ByteArray, &spares));
    }
}
