"""Configurations refuse wrong types themselves, in one line: no shape checker in front of them."""

from importlib.util import find_spec

if find_spec("jaxtyping"):
    from jaxtyping import install_import_hook

    names = ("_config", "a2_config", "m2_config")
    install_import_hook([f"a2m2_zoo.modules.{name}" for name in names], None)
