"""Prints every leaf of a Parquet file: path, physical type, logical type, maximal definition and repetition level.

schema.py FILE       the list itself (how vparquet4.txt was made, from a block that Tempo wrote)
schema.py FILE LIST  compares with a list, reads every row group, and says what differs
"""

import sys

import pyarrow.parquet as pq


def leaves(file):
    schema = file.schema
    for index in range(len(schema)):
        column = schema.column(index)
        logical = str(column.logical_type)
        yield f"{column.path} {column.physical_type} {logical} {column.max_definition_level} {column.max_repetition_level}"


def main():
    file = pq.ParquetFile(sys.argv[1])
    have = list(leaves(file))
    if len(sys.argv) == 2:
        print("\n".join(have))
        return
    want = open(sys.argv[2]).read().splitlines()
    problems = [f"leaf {i}: {a!r} should be {b!r}" for i, (a, b) in enumerate(zip(have, want)) if a != b]
    if len(have) != len(want):
        problems.append(f"{len(have)} leaves instead of {len(want)}")
    rows = 0
    for group in range(file.num_row_groups):
        table = file.read_row_group(group)
        table.validate(full=True)
        rows += table.num_rows
        for index in range(file.metadata.num_columns):
            column = file.metadata.row_group(group).column(index)
            if column.statistics is None or column.statistics.null_count is None:
                problems.append(f"{column.path_in_schema}: no null count")
            if not column.has_offset_index or not column.has_column_index:
                problems.append(f"{column.path_in_schema}: no page index")
            if column.has_dictionary_page and column.physical_type == "INT32":
                problems.append(f"{column.path_in_schema}: a dictionary on INT32 breaks Tempo")
    if rows != file.metadata.num_rows:
        problems.append(f"read {rows} rows, the footer says {file.metadata.num_rows}")
    ids = file.read(columns=["TraceID"]).column(0).to_pylist()
    if ids != sorted(set(ids)):
        problems.append("trace ids are not ascending and unique")
    print("\n".join(problems) or f"ok: {rows} rows, {len(have)} leaves, {file.num_row_groups} row groups")
    sys.exit(bool(problems))


main()
