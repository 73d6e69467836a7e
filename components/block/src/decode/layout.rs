//! Which leaf columns make up a trace, in each block format, and how they nest.
//!
//! A [`Plan`] names the leaves to read and the tree they are assembled by. It is made from the leaves a file has, by
//! path: Tempo goes by position, and a file with columns in another order must not be read wrongly. Dedicated columns
//! are assigned by the rules of the format in [`dedicated`].

mod dedicated;
pub(crate) mod leaves;

use std::{collections::HashMap, ops::Range};

use tempo_backend::BlockFormat;
use tempo_config::{DedicatedColumn, DedicatedColumnScope};

use super::footer::Leaf;

/// Index into [`Plan::leaves`].
pub(crate) type Column = usize;

/// A leaf that is read, and where the file has it.
#[derive(Debug, Clone)]
pub(crate) struct PlannedLeaf {
    pub(crate) file_index: usize,
    pub(crate) leaf: Leaf,
    /// The driver of the innermost group it is in, other than itself. A leaf without any value has the same levels.
    pub(crate) parent: Option<Column>,
}

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) leaves: Vec<PlannedLeaf>,
    pub(crate) trace: TraceColumns,
}

/// Leaves of one repeated group: `driver` is a required leaf of the group itself and tells where elements start,
/// `all` are the leaves of the group and of everything in it.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) driver: Column,
    pub(crate) all: Range<Column>,
}

#[derive(Debug, Clone)]
pub(crate) struct TraceColumns {
    pub(crate) trace_id: Column,
    pub(crate) resources: Group,
    pub(crate) resource: ResourceColumns,
}

#[derive(Debug, Clone)]
pub(crate) struct ResourceColumns {
    pub(crate) service_name: Column,
    pub(crate) named: Vec<NamedColumn>,
    pub(crate) attributes: AttributeColumns,
    pub(crate) dropped_attributes: Option<Column>,
    pub(crate) scopes: Group,
    pub(crate) scope: ScopeColumns,
}

#[derive(Debug, Clone)]
pub(crate) struct ScopeColumns {
    pub(crate) name: Column,
    pub(crate) version: Column,
    /// Not in vParquet3.
    pub(crate) attributes: Option<AttributeColumns>,
    pub(crate) dropped_attributes: Option<Column>,
    pub(crate) spans: Group,
    pub(crate) span: SpanColumns,
}

#[derive(Debug, Clone)]
pub(crate) struct SpanColumns {
    pub(crate) span_id: Column,
    pub(crate) parent_span_id: Column,
    pub(crate) name: Column,
    pub(crate) kind: Column,
    pub(crate) trace_state: Column,
    pub(crate) start: Column,
    pub(crate) duration: Column,
    pub(crate) status_code: Column,
    pub(crate) status_message: Column,
    pub(crate) named: Vec<NamedColumn>,
    pub(crate) attributes: AttributeColumns,
    pub(crate) dropped_attributes: Column,
    pub(crate) events: Group,
    pub(crate) event: EventColumns,
    pub(crate) dropped_events: Column,
    pub(crate) links: LinkColumns,
    pub(crate) dropped_links: Column,
}

#[derive(Debug, Clone)]
pub(crate) struct EventColumns {
    pub(crate) time: EventTime,
    pub(crate) name: Column,
    pub(crate) named: Vec<NamedColumn>,
    pub(crate) attributes: AttributeColumns,
    pub(crate) dropped_attributes: Column,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum EventTime {
    /// vParquet3.
    Absolute(Column),
    SinceSpanStart(Column),
}

#[derive(Debug, Clone)]
pub(crate) enum LinkColumns {
    /// vParquet3: one protobuf message for all links of a span.
    Message(Column),
    Group(Group, Box<LinkGroupColumns>),
}

#[derive(Debug, Clone)]
pub(crate) struct LinkGroupColumns {
    pub(crate) trace_id: Column,
    pub(crate) span_id: Column,
    pub(crate) trace_state: Column,
    pub(crate) attributes: AttributeColumns,
    pub(crate) dropped_attributes: Column,
}

/// A static or dedicated column: the attribute it stands for.
#[derive(Debug, Clone)]
pub(crate) struct NamedColumn {
    pub(crate) key: String,
    pub(crate) column: Column,
    /// vParquet5's dedicated columns hold lists.
    pub(crate) is_list: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct AttributeColumns {
    pub(crate) group: Group,
    pub(crate) key: Column,
    pub(crate) value: AttributeValueColumns,
    /// What an attribute without any value means: vParquet5's readers drop it, older ones keep the key.
    pub(crate) keeps_empty: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum AttributeValueColumns {
    /// vParquet3: one optional column a type, lists and maps as JSON.
    Optional { string: Column, int: Column, double: Column, boolean: Column, map: Column, array: Column },
    /// vParquet3's events: a protobuf AnyValue, in old blocks JSON.
    Message { value: Column },
    /// A list a type, and JSON for what has no column.
    Lists { is_array: Column, string: Column, int: Column, double: Column, boolean: Column, other: Column },
}

/// Why a file cannot be read as a trace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LayoutError {
    #[error("format {0} is not known")]
    UnknownFormat(String),
    #[error("column {0} is missing")]
    MissingColumn(String),
    #[error("column {0} is not among the dedicated columns of meta.json")]
    UnnamedDedicatedColumn(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V3,
    V4,
    V5,
}

impl Plan {
    /// Plans reading the traces of a file that has these leaves.
    pub(crate) fn new(
        format: &BlockFormat,
        columns: &[DedicatedColumn],
        leaves: &[Leaf],
    ) -> Result<Plan, LayoutError> {
        let version = match format {
            BlockFormat::VParquet3 => Version::V3,
            BlockFormat::VParquet4 => Version::V4,
            BlockFormat::VParquet5 => Version::V5,
            BlockFormat::Unknown(name) => return Err(LayoutError::UnknownFormat(name.clone())),
        };
        let by_path =
            leaves.iter().enumerate().map(|(index, leaf)| (leaf.path.as_str(), (index, leaf))).collect();
        let mut planner = Planner { version, columns, by_path, planned: Vec::new() };
        let trace = planner.trace()?;
        let plan = Plan { leaves: planner.planned, trace };
        if version == Version::V5 {
            let is_planned = |index: usize| plan.leaves.iter().any(|p| p.file_index == index);
            let unnamed = leaves
                .iter()
                .enumerate()
                .find(|(i, l)| l.path.contains(".DedicatedAttributes.") && !is_planned(*i));
            if let Some((_, leaf)) = unnamed {
                return Err(LayoutError::UnnamedDedicatedColumn(leaf.path.clone()));
            }
        }
        Ok(plan)
    }
}

const RESOURCE_STATICS: [(&str, &str); 8] = [
    ("cluster", "Cluster"),
    ("namespace", "Namespace"),
    ("pod", "Pod"),
    ("container", "Container"),
    ("k8s.cluster.name", "K8sClusterName"),
    ("k8s.namespace.name", "K8sNamespaceName"),
    ("k8s.pod.name", "K8sPodName"),
    ("k8s.container.name", "K8sContainerName"),
];
const SPAN_STATICS: [(&str, &str); 3] =
    [("http.method", "HttpMethod"), ("http.url", "HttpUrl"), ("http.status_code", "HttpStatusCode")];

struct Planner<'a> {
    version: Version,
    columns: &'a [DedicatedColumn],
    by_path: HashMap<&'a str, (usize, &'a Leaf)>,
    planned: Vec<PlannedLeaf>,
}

impl Planner<'_> {
    fn column(&mut self, path: &str) -> Result<Column, LayoutError> {
        self.column_if_there(path).ok_or_else(|| LayoutError::MissingColumn(path.to_owned()))
    }

    fn column_if_there(&mut self, path: &str) -> Option<Column> {
        let (file_index, leaf) = *self.by_path.get(path)?;
        self.planned.push(PlannedLeaf { file_index, leaf: leaf.clone(), parent: None });
        Some(self.planned.len() - 1)
    }

    /// Path of a repeated group's elements.
    fn list(&self, path: &str) -> String {
        match self.version {
            Version::V3 | Version::V4 => format!("{path}.list.element"),
            Version::V5 => path.to_owned(),
        }
    }

    /// The group of the columns planned since `start`. Groups in it are there already.
    fn group_since(&mut self, start: Column, driver: Column) -> Group {
        for (column, planned) in self.planned.iter_mut().enumerate().skip(start) {
            if column != driver {
                planned.parent.get_or_insert(driver);
            }
        }
        Group { driver, all: start..self.planned.len() }
    }

    fn trace(&mut self) -> Result<TraceColumns, LayoutError> {
        let trace_id = self.column("TraceID")?;
        let start = self.planned.len();
        let resource = self.resource(&self.list("rs"))?;
        let resources = self.group_since(start, resource.service_name);
        Ok(TraceColumns { trace_id, resources, resource })
    }

    fn resource(&mut self, element: &str) -> Result<ResourceColumns, LayoutError> {
        let path = format!("{element}.Resource");
        let service_name = self.column(&format!("{path}.ServiceName"))?;
        let mut named = self.statics(&path, &RESOURCE_STATICS);
        named.extend(self.dedicated(DedicatedColumnScope::Resource, &path));
        let attributes = self.attributes(&path)?;
        let dropped_attributes = self.not_in_v3(&format!("{path}.DroppedAttributesCount"))?;
        let start = self.planned.len();
        let scope = self.scope(&self.list(&format!("{element}.ss")))?;
        let scopes = self.group_since(start, scope.name);
        Ok(ResourceColumns { service_name, named, attributes, dropped_attributes, scopes, scope })
    }

    fn scope(&mut self, element: &str) -> Result<ScopeColumns, LayoutError> {
        let path = format!("{element}.Scope");
        let name = self.column(&format!("{path}.Name"))?;
        let version = self.column(&format!("{path}.Version"))?;
        let attributes = match self.version {
            Version::V3 => None,
            Version::V4 | Version::V5 => Some(self.attributes(&path)?),
        };
        let dropped_attributes = self.not_in_v3(&format!("{path}.DroppedAttributesCount"))?;
        let start = self.planned.len();
        let span = self.span(&self.list(&format!("{element}.Spans")))?;
        let spans = self.group_since(start, span.span_id);
        Ok(ScopeColumns { name, version, attributes, dropped_attributes, spans, span })
    }

    fn span(&mut self, element: &str) -> Result<SpanColumns, LayoutError> {
        let leaf = |name: &str| format!("{element}.{name}");
        let span_id = self.column(&leaf("SpanID"))?;
        let mut named = self.statics(element, &SPAN_STATICS);
        named.extend(self.dedicated(DedicatedColumnScope::Span, element));
        let start = self.planned.len();
        let event = self.event(&self.list(&leaf("Events")))?;
        let events = self.group_since(start, event.name);
        Ok(SpanColumns {
            span_id,
            parent_span_id: self.column(&leaf("ParentSpanID"))?,
            name: self.column(&leaf("Name"))?,
            kind: self.column(&leaf("Kind"))?,
            trace_state: self.column(&leaf("TraceState"))?,
            start: self.column(&leaf("StartTimeUnixNano"))?,
            duration: self.column(&leaf("DurationNano"))?,
            status_code: self.column(&leaf("StatusCode"))?,
            status_message: self.column(&leaf("StatusMessage"))?,
            named,
            attributes: self.attributes(element)?,
            dropped_attributes: self.column(&leaf("DroppedAttributesCount"))?,
            events,
            event,
            dropped_events: self.column(&leaf("DroppedEventsCount"))?,
            links: self.links(&leaf("Links"))?,
            dropped_links: self.column(&leaf("DroppedLinksCount"))?,
        })
    }

    fn event(&mut self, element: &str) -> Result<EventColumns, LayoutError> {
        let leaf = |name: &str| format!("{element}.{name}");
        let name = self.column(&leaf("Name"))?;
        let time = match self.version {
            Version::V3 => EventTime::Absolute(self.column(&leaf("TimeUnixNano"))?),
            Version::V4 | Version::V5 => EventTime::SinceSpanStart(self.column(&leaf("TimeSinceStartNano"))?),
        };
        let named = self.dedicated(DedicatedColumnScope::Event, element);
        let attributes = match self.version {
            Version::V3 => self.message_attributes(element)?,
            Version::V4 | Version::V5 => self.attributes(element)?,
        };
        let dropped_attributes = self.column(&leaf("DroppedAttributesCount"))?;
        Ok(EventColumns { time, name, named, attributes, dropped_attributes })
    }

    fn links(&mut self, path: &str) -> Result<LinkColumns, LayoutError> {
        if self.version == Version::V3 {
            return Ok(LinkColumns::Message(self.column(path)?));
        }
        let element = self.list(path);
        let start = self.planned.len();
        let columns = LinkGroupColumns {
            trace_id: self.column(&format!("{element}.TraceID"))?,
            span_id: self.column(&format!("{element}.SpanID"))?,
            trace_state: self.column(&format!("{element}.TraceState"))?,
            attributes: self.attributes(&element)?,
            dropped_attributes: self.column(&format!("{element}.DroppedAttributesCount"))?,
        };
        Ok(LinkColumns::Group(self.group_since(start, columns.trace_id), Box::new(columns)))
    }

    /// The attribute block below `parent`.
    fn attributes(&mut self, parent: &str) -> Result<AttributeColumns, LayoutError> {
        let element = self.list(&format!("{parent}.Attrs"));
        let leaf = |name: &str| format!("{element}.{name}");
        let start = self.planned.len();
        let key = self.column(&leaf("Key"))?;
        let value = match self.version {
            Version::V3 => AttributeValueColumns::Optional {
                string: self.column(&leaf("Value"))?,
                int: self.column(&leaf("ValueInt"))?,
                double: self.column(&leaf("ValueDouble"))?,
                boolean: self.column(&leaf("ValueBool"))?,
                map: self.column(&leaf("ValueKVList"))?,
                array: self.column(&leaf("ValueArray"))?,
            },
            Version::V4 | Version::V5 => AttributeValueColumns::Lists {
                is_array: self.column(&leaf("IsArray"))?,
                string: self.column(&self.list(&leaf("Value")))?,
                int: self.column(&self.list(&leaf("ValueInt")))?,
                double: self.column(&self.list(&leaf("ValueDouble")))?,
                boolean: self.column(&self.list(&leaf("ValueBool")))?,
                other: self.column(&leaf("ValueUnsupported"))?,
            },
        };
        Ok(AttributeColumns {
            group: self.group_since(start, key),
            key,
            value,
            keeps_empty: self.version != Version::V5,
        })
    }

    fn message_attributes(&mut self, parent: &str) -> Result<AttributeColumns, LayoutError> {
        let element = self.list(&format!("{parent}.Attrs"));
        let start = self.planned.len();
        let key = self.column(&format!("{element}.Key"))?;
        let value = AttributeValueColumns::Message { value: self.column(&format!("{element}.Value"))? };
        Ok(AttributeColumns { group: self.group_since(start, key), key, value, keeps_empty: true })
    }

    fn not_in_v3(&mut self, path: &str) -> Result<Option<Column>, LayoutError> {
        match self.version {
            Version::V3 => Ok(None),
            Version::V4 | Version::V5 => self.column(path).map(Some),
        }
    }

    /// The attributes that older formats give a column of their own.
    fn statics(&mut self, parent: &str, statics: &[(&str, &str)]) -> Vec<NamedColumn> {
        if self.version == Version::V5 {
            return Vec::new();
        }
        let column = |(key, leaf): &(&str, &str)| {
            let column = self.column_if_there(&format!("{parent}.{leaf}"))?;
            Some(NamedColumn { key: (*key).to_owned(), column, is_list: false })
        };
        statics.iter().filter_map(column).collect()
    }

    fn dedicated(&mut self, scope: DedicatedColumnScope, parent: &str) -> Vec<NamedColumn> {
        let is_list = self.version == Version::V5;
        let assigned = if is_list {
            dedicated::assign_v5(self.columns, scope)
        } else {
            dedicated::assign_v4(self.columns, scope)
        };
        // A column the file lacks holds nothing: Tempo leaves out unused ones.
        let column = |(key, leaf): (String, String)| {
            let column = self.column_if_there(&format!("{parent}.DedicatedAttributes.{leaf}"))?;
            Some(NamedColumn { key, column, is_list })
        };
        assigned.into_iter().filter_map(column).collect()
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests index what they made")]
mod tests;
