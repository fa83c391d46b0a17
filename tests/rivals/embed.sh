#!/usr/bin/env bash
# Scores of a sentence-embedding classifier, for `candor evaluate --rival`; see embed.py, to which all
# arguments go. The first run installs torch into .venv-rivals. Not part of `make test`.
set -euo pipefail
folder="$(cd "$(dirname "$0")/../.." && pwd)"
requirements=$folder/tests/rivals/requirements.txt
stamp=$folder/.venv-rivals/requirements.sha256
python=$folder/.venv-rivals/bin/python
wanted=$(sha256sum < "$requirements")
if [ ! -x "$python" ] || [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
  python3 -m venv "$folder/.venv-rivals"
  "$python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
  echo "$wanted" > "$stamp"
fi
exec "$python" "$folder/tests/rivals/embed.py" "$@"
