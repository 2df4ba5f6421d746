"""Changes a checkpoint and puts its checksums right again, with h5py: for tests of what th_app makes of a checkpoint that is whole and yet wrong."""
import json

import h5py


def _table():
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        yield value


TABLE = list(_table())


def crc32c(data):
    """CRC-32C of RFC 3720."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283


def set_string(file, name, text):
    del file.attrs[name]
    file.attrs.create(name, text, dtype=h5py.string_dtype("utf-8"))


def seal(file):
    """The checksum of model.h5's own text."""
    text = (file.attrs["deck"] + file.attrs["state"] + file.attrs["layout"]).encode()
    for side in ("source", "target"):
        text += b"".join(token + b"\n" for token in file["vocabulary"][side][:])
    file.attrs["crc32c"] = crc32c(text)


def state_of(checkpoint):
    with h5py.File(checkpoint / "model.h5", "r") as file:
        return json.loads(file.attrs["state"])


def change_state(checkpoint, **changes):
    with h5py.File(checkpoint / "model.h5", "r+") as file:
        state = {**json.loads(file.attrs["state"]), **changes}
        set_string(file, "state", json.dumps(state))
        seal(file)


def change_attribute(checkpoint, name, value):
    with h5py.File(checkpoint / "model.h5", "r+") as file:
        file.attrs[name] = value


def scale_parameters(checkpoint, factor):
    """Every parameter of every shard times `factor`, checksums right."""
    for path in sorted(checkpoint.glob("shard_*.h5")):
        with h5py.File(path, "r+") as file:
            data = file["parameters"]
            data[:] = data[:] * data.dtype.type(factor)
            data.attrs["crc32c"] = crc32c(data[:].tobytes())
