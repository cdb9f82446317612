#!/usr/bin/env bash
# torch-geometric 2.8.1 (with torch 2.13.0), seen on 28 November 2026.
#
# Each process that makes an object of a subclass of MessagePassing leaves a Python file in the
# folder for temporary files, for good: the source of `propagate`, made for the class from a
# template (template.py, NamedTemporaryFile with delete=False), and beside it in __pycache__ the
# same as bytecode, where Python writes that. The layers that the library itself has do the same,
# and nobody asked for TorchScript. The names are random, so the next process makes another. Who
# removes the file at once can't use torch.jit.script any more, which reads the source from it.
#
# Why it matters here: each export, training and evaluation of the GNN left such a file, on nodes
# on which /tmp is memory, too. Ours are taken out: the source goes to linecache, and the file away.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 torch-geometric==2.8.1 numpy==1.26.4
cat > "$work/layer.py" <<'PYTHON'
import sys
from pathlib import Path
import tempfile

import torch
from torch_geometric.nn import GCNConv

layer = GCNConv(2, 2)
if "--remove" in sys.argv:
    for path in Path(tempfile.gettempdir()).glob("*_propagate_*.py"):
        path.unlink()
    try:
        torch.jit.script(layer)
    except OSError as error:
        print("torch.jit.script without the file:", str(error).splitlines()[0])
        sys.exit(0)
    sys.exit(1)
PYTHON
left="$work/left"
mkdir "$left"
export TMPDIR="$left"
unset PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX
for process in 1 2 3; do
    "$work/venv/bin/python" "$work/layer.py"
    echo "after $process: $(find "$left" -name '*_propagate_*.py' | wc -l) sources, $(find "$left" -name '*_propagate_*.pyc' | wc -l) of bytecode"
done
find "$left" -type f
test "$(find "$left" -name '*_propagate_*.py' | wc -l)" -eq 3
test "$(find "$left" -name '*_propagate_*.pyc' | wc -l)" -eq 3
"$work/venv/bin/python" "$work/layer.py" --remove
