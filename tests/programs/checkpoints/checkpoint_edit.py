"""Changes a checkpoint and puts its checksums right again, with h5py: for tests of what th_app
makes of a checkpoint that is whole and yet wrong."""

import contextlib
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


@contextlib.contextmanager
def edited(checkpoint):
    """model.h5 for changes; afterwards the checksums of its text and of the file are right."""
    path = checkpoint / "model.h5"
    with h5py.File(path, "r+") as file:
        yield file
        text = (file.attrs["deck"] + file.attrs["state"] + file.attrs["layout"]).encode()
        for side in ("source", "target"):
            text += b"".join(token + b"\n" for token in file["vocabulary"][side][:])
        file.attrs["crc32c"] = crc32c(text)
    data = path.read_bytes()
    mark = b"th_app checkpoint, crc32c of what follows byte 512: "
    assert data.startswith(mark)
    path.write_bytes(mark + b"%08x\n" % crc32c(data[512:]) + data[len(mark) + 9 :])


def state_of(checkpoint):
    with h5py.File(checkpoint / "model.h5", "r") as file:
        return json.loads(file.attrs["state"])


def change_state(checkpoint, **changes):
    with edited(checkpoint) as file:
        state = json.dumps({**json.loads(file.attrs["state"]), **changes})
        del file.attrs["state"]
        file.attrs.create("state", state, dtype=h5py.string_dtype("utf-8"))


def change_attribute(checkpoint, name, value):
    with edited(checkpoint) as file:
        file.attrs[name] = value


def scale_parameters(checkpoint, factor):
    """Every parameter of every shard times `factor`, checksums right."""
    for path in sorted(checkpoint.glob("shard_*.h5")):
        with h5py.File(path, "r+") as file:
            data = file["parameters"]
            data[:] = data[:] * data.dtype.type(factor)
            data.attrs["crc32c"] = crc32c(data[:].tobytes())
