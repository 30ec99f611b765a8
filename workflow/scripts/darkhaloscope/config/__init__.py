"""The configuration: one pydantic model per section, the only source of keys, units and defaults.

Import the section that is needed (`config.manga`, `config.subhalo`, …): a rule's digest follows
imports, so a stage that imports one section does not rerun when another one changes.
"""
