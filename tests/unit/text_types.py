"""The Arrow types that writers of Parquet give text: plain, large, views, bytes, and dictionaries of them."""

import pyarrow as pa

TEXT_TYPES = {
    "large_string": pa.large_string(),
    "string_view": pa.string_view(),
    "dictionary": pa.dictionary(pa.int32(), pa.string()),
    "large dictionary": pa.dictionary(pa.uint32(), pa.large_string()),
}
BYTES_TYPES = {"binary": pa.binary(), "large_binary": pa.large_binary(), "binary_view": pa.binary_view()}


def retyped(table: pa.Table, kind: pa.DataType) -> pa.Table:
    """Return a table with its text in another type."""
    for k, field in enumerate(table.schema):
        if field.type == pa.string():
            column = table.column(k).combine_chunks()
            if pa.types.is_dictionary(kind):
                encoded = column.dictionary_encode()
                column = pa.DictionaryArray.from_arrays(encoded.indices.cast(kind.index_type), encoded.dictionary.cast(kind.value_type))
            table = table.set_column(k, field.name, column if pa.types.is_dictionary(kind) else column.cast(kind))
    return table
