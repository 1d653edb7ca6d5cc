"""The bill of materials of a release: CycloneDX 1.5 JSON, minimal and deterministic.

Owns the document's form. It names every file that runs on the device with its SHA-256, the
compiler and the lowest runtime. It carries no time and no random serial number: the same inputs
give the same bytes.
"""

import hashlib
import json
from typing import Any


def bill(name: str, version: str, files: dict[str, bytes], tools: dict[str, str]) -> bytes:
    """CycloneDX JSON for a release made of `files`, built with `tools` ({name: version})."""
    document: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "firmware",
                "bom-ref": f"{name}@{version}",
                "name": name,
                "version": version,
            },
            "tools": {
                "components": [
                    {"type": "application", "name": tool, "version": tools[tool]}
                    for tool in sorted(tools)
                ]
            },
        },
        "components": [_file(path, files[path]) for path in sorted(files)],
    }
    return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"


def _file(path: str, data: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    return {
        "type": "file",
        "bom-ref": path,
        "name": path,
        "hashes": [{"alg": "SHA-256", "content": digest}],
        "properties": [{"name": "outpost:size", "value": str(len(data))}],
    }
