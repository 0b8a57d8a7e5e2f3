"""Writes openapi.yaml as openapi.json, which the broker embeds and serves. Run it after each change
of openapi.yaml; a test compares the two. (The build itself so needs neither Python nor YAML.)"""

import json
import pathlib

import yaml


def to_json(text):
    return json.dumps(yaml.safe_load(text), separators=(",", ":"), ensure_ascii=False) + "\n"


if __name__ == "__main__":
    here = pathlib.Path(__file__).parent
    source = (here / "openapi.yaml").read_text(encoding="utf-8")
    (here / "openapi.json").write_text(to_json(source), encoding="utf-8")
