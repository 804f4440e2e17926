"""Rows of results in files that grow from run to run."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def append(path: Path, row: Mapping[str, Any]):
  """One more row, under a header where the file is new."""
  with open(path, 'a', newline='') as file:
    writer = csv.DictWriter(file, row)
    if not file.tell():
      writer.writeheader()
    writer.writerow(row)
