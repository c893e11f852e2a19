"""Holds the outputs of a node against Argo's types, as the Hera SDK generates them from Argo's API.

Usage: check_outputs.py JSON. Exits 1 where Argo would lose something of it.
"""

import json
import sys

from hera.workflows import models as argo

given = json.loads(sys.argv[1])
kept = argo.Outputs.model_validate(given).model_dump(by_alias=True, exclude_unset=True, mode="json")
if kept != given:
    sys.exit(f"Argo keeps {kept} of {given}")
for artifact in kept.get("artifacts", []):
    # What Argo calls a whole location: less of it loses its bucket to the artifact repository.
    missing = [part for part in ("endpoint", "bucket", "key") if not artifact["s3"].get(part)]
    if missing:
        sys.exit(f"{artifact['name']} lacks {missing}")
print(f"{len(kept.get('artifacts', []))} artifacts")
