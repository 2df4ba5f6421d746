"""Golden numbers as JSON, for the scripts beside it."""

import json


class Number(float):
    """A float that JSON writes with 9 significant digits: enough for every fp32 to read back to the
    same bits."""

    def __repr__(self):
        return f"{float(self):.9g}"


def encode(value):
    """JSON with a key a line and lists on one line."""
    if isinstance(value, Number):
        return repr(value)
    if isinstance(value, dict):
        return "{" + ",\n".join(json.dumps(k) + ":" + encode(v) for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(encode(v) for v in value) + "]"
    return json.dumps(value)
