"""The generated bindings of `proto/tokenwire/v1` (scripts/gen_proto.py; never edited)."""
