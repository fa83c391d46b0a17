#!/usr/bin/env bash
# Builds the stripped binary and packs it with its licence into dist/, with checksums.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --locked --profile dist --bin candor
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
name=candor-$version-$(uname -m)-$(uname -s | tr '[:upper:]' '[:lower:]')
rm -rf "dist/$name" && mkdir -p "dist/$name"
cp "${CARGO_TARGET_DIR:-target}/dist/candor" LICENSE NOTICE README.md CHANGELOG.md "dist/$name/"
# Fixed order, owner and times: the same files give the same archive.
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime='2020-01-01 00:00:00Z' -C dist -cf - "$name" | gzip -n > "dist/$name.tar.gz"
(cd dist && sha256sum "$name.tar.gz" "$name/candor" > "$name.sha256")
cat "dist/$name.sha256"
