"""Folded files as an Arrow dataset, for those that DuckDB cannot open itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow.fs

from checkmaite_analytics_store._manifest import FileEntry
from checkmaite_analytics_store._ranged import RangedFiles
from checkmaite_analytics_store._types import arrow_schema

if TYPE_CHECKING:
    import pyarrow.dataset

__all__ = ["dataset_of"]


def dataset_of(files: RangedFiles, entries: Sequence[FileEntry]) -> pyarrow.dataset.Dataset:
    """The rows of files of equal columns; read with page checksums, in parts, and only what a query needs.

    Nothing is asked of the store before the first scan: sizes and columns are the manifest's. The footer of each
    file is read once and kept with the dataset.
    """
    import pyarrow.dataset  # not needed on local disk

    files.add(entries)
    filesystem = pyarrow.fs.PyFileSystem(files)
    parquet = pyarrow.dataset.ParquetFileFormat(
        default_fragment_scan_options=pyarrow.dataset.ParquetFragmentScanOptions(
            page_checksum_verification=True, pre_buffer=True
        )
    )
    fragments = [
        parquet.make_fragment(entry.key, filesystem=filesystem, file_size=entry.size) for entry in entries if entry.rows
    ]
    return pyarrow.dataset.FileSystemDataset(
        fragments, arrow_schema(dict(entries[0].columns)), parquet, filesystem if fragments else None
    )
