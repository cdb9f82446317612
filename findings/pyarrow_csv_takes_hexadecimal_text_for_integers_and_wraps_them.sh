#!/usr/bin/env bash
# pyarrow 23.0.1, with pandas 2.3.3 beside it; seen on 28 November 2026.
#
# The CSV reader of pyarrow takes a text such as 0x10 for an integer, also where it finds out by
# itself what a column holds: 16, with the type int64. From 0x8000000000000000 on it wraps round:
# 0xFFFFFFFFFFFFFFFF is read as -1, although the decimal number one above the largest int64 is read
# as a float. One column of int8 for which it is told the type has 0xFF as -1 as well, while 255 is
# an error. A sign before it, or one value that is no integer, and the same texts stay texts.
# pandas.read_csv leaves them as texts with its own engines, and gives these integers with
# engine="pyarrow".
#
# Why it matters here: ids of surfaces and particles are numbers of 64 bits, which people write in
# hexadecimal notation. ACTS reads them as 0 (another script here), so no two programs agree on
# such a file. Our reader refuses it, with the line and the column.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pyarrow==23.0.1 pandas==2.3.3 numpy==1.26.4
cat > "$work/try.py" <<'PYTHON'
import io
import sys

import pandas as pd
import pyarrow as pa
from pyarrow import csv


def column(*values, **options):
    text = "id,n\n" + "".join(f"{value},1\n" for value in values)
    found = csv.read_csv(io.BytesIO(text.encode()), **options).column("id")
    return str(found.type), found.to_pylist()


SEEN = {
    ("0x10", "2"): ("int64", [16, 2]),
    ("0xFFFFFFFFFFFFFFFF", "1"): ("int64", [-1, 1]),
    ("9223372036854775808", "1"): ("double", [9223372036854775808.0, 1.0]),
    ("-0x10", "2"): ("string", ["-0x10", "2"]),
    ("0x10", "1.5"): ("string", ["0x10", "1.5"]),
}
good = True
for values, expected in SEEN.items():
    found = column(*values)
    print(f"{', '.join(values)}: {found[0]}, {found[1]}")
    good &= found == expected

narrow = {"convert_options": csv.ConvertOptions(column_types={"id": pa.int8()})}
found = column("0xFF", **narrow)
print(f"0xFF, told to be int8: {found[1]}")
good &= found == ("int8", [-1])
try:
    print(f"255, told to be int8: {column('255', **narrow)[1]}")
    good = False
except pa.ArrowInvalid as error:
    print(f"255, told to be int8: {error}")

text = "id,n\n0xFFFFFFFFFFFFFFFF,1\n0x10,1\n"
for engine, expected in (
    ("c", ["0xFFFFFFFFFFFFFFFF", "0x10"]),
    ("python", ["0xFFFFFFFFFFFFFFFF", "0x10"]),
    ("pyarrow", [-1, 16]),
):
    found = pd.read_csv(io.StringIO(text), engine=engine)["id"].tolist()
    print(f"pandas, engine {engine}: {found}")
    good &= found == expected
sys.exit(not good)
PYTHON
"$work/venv/bin/python" "$work/try.py"
