"""Build backend for pip: says that this is a checkout to run from, in place of setuptools' puzzle."""

MESSAGE = "fpb-fomm is no package but a checkout to run from: make setup, or pip install -r requirements.txt"


def build_wheel(*_, **__):
    raise SystemExit(MESSAGE)


get_requires_for_build_wheel = get_requires_for_build_editable = build_editable = build_sdist = build_wheel
