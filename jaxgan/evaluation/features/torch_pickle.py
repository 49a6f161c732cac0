"""A reader of PyTorch's pickles without Python's `pickle`, so that nothing a file names is ever imported or called.

Unpickling executes whatever a file asks for. Here a small machine follows the pickle's operations, and it has no way to
do so: it knows plain values, tuples, lists and dictionaries, and makes records of the tensors' descriptions.
"""

import io
import pickletools
from typing import Any, NamedTuple

__all__ = ["Storage", "Tensor", "unpickle"]

# Little-endian; bfloat16 is the upper half of a float32.
STORAGES = {
    "torch.DoubleStorage": "<f8",
    "torch.FloatStorage": "<f4",
    "torch.HalfStorage": "<f2",
    "torch.BFloat16Storage": "bfloat16",
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "i1",
    "torch.ByteStorage": "u1",
    "torch.BoolStorage": "?",
}
DIMENSIONS = 32  # at most
TENSORS = {"torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"}
PARAMETER, DICT = "torch._utils._rebuild_parameter", "collections.OrderedDict"
KNOWN = {*STORAGES, *TENSORS, PARAMETER, DICT}


class _Global(NamedTuple):
    """The name of a Python object in the file. It stays a name."""

    name: str


class Storage(NamedTuple):
    """The file's description of a storage: the array of numbers that tensors are views of."""

    key: str
    dtype: str
    length: int


class Tensor(NamedTuple):
    """A view of a storage; offset and strides count numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def unpickle(stream: io.BytesIO, storages: dict[str, Storage]) -> Any:
    """Reads the next pickle of a stream, as plain values, lists, tuples, dictionaries (of texts or integers to
    anything) and records of tensors. The storages it describes are added to `storages`, by their keys.

    ValueError for a damaged pickle, and for anything that a state dict doesn't need."""
    try:
        return _run(stream, storages)
    except (IndexError, KeyError, TypeError):  # an entry of its stack or memo is missing or of another kind
        raise ValueError("its pickle is damaged") from None


def _run(stream: io.BytesIO, storages: dict[str, Storage]) -> Any:  # noqa: C901, PLR0915 - a branch an opcode
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[Any, Any] = {}

    def pop(count: int) -> list[Any]:
        if count > len(stack):
            raise ValueError("its pickle is damaged")
        items = stack[len(stack) - count :]
        del stack[len(stack) - count :]
        return items

    def pop_mark() -> list[Any]:
        return pop(max(0, len(stack) - marks.pop()))

    for operation, argument, _ in pickletools.genops(stream):
        match operation.name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(operation.name == "NEWTRUE")
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                stack.append(argument)
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINSTRING" | "SHORT_BINSTRING":
                stack.append(argument)
            case "EMPTY_DICT" | "EMPTY_LIST" | "EMPTY_TUPLE":
                stack.append({"EMPTY_DICT": {}, "EMPTY_LIST": [], "EMPTY_TUPLE": ()}[operation.name])
            case "MARK":
                marks.append(len(stack))
            case "TUPLE":
                stack.append(tuple(pop_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(pop(int(operation.name[-1]))))
            case "APPEND" | "APPENDS":
                items = pop(1) if operation.name == "APPEND" else pop_mark()
                list.extend(stack[-1], items)
            case "SETITEM" | "SETITEMS":
                items = pop(2) if operation.name == "SETITEM" else pop_mark()
                _set(stack[-1], items[::2], items[1::2])
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(_global(str(argument).replace(" ", ".")))
            case "STACK_GLOBAL":
                stack.append(_global(".".join(pop(2))))
            case "REDUCE":
                stack.append(_call(*pop(2)))
            case "BUILD":
                pop(1)  # attributes of a dictionary, such as its modules' versions
            case "BINPERSID":
                storage = _storage(*pop(1))
                if storages.setdefault(storage.key, storage) != storage:
                    raise ValueError(f"its storage {storage.key[:80]!r} is declared in two ways")
                stack.append(storage)
            case _:
                raise ValueError(f"its pickle uses {operation.name}, which no weights do")
    return stack.pop()


def _global(name: str) -> _Global:
    if name not in KNOWN:
        raise ValueError(f"it holds {name[:80]!r}; weights hold tensors only, and nothing of it was executed")
    return _Global(name)


def _storage(description: Any) -> Storage:
    match description:
        case ("storage", _Global(kind), str(key), _, int(length), *view) if kind in STORAGES and length >= 0:
            if any(of is not None for of in view):
                raise ValueError("it holds parts of storages, as PyTorch wrote before 0.4; save it again with a newer")
            return Storage(key, STORAGES[kind], length)
    raise ValueError("what it says of a storage is damaged")


def _call(what: Any, arguments: Any) -> Any:
    """Returns the result of a call in the pickle: four functions are known, by name, and make records or a
    dictionary."""
    match what, arguments:
        case _Global(name), (Storage() as storage, int(offset), tuple(shape), tuple(strides), *_) if name in TENSORS:
            if len(shape) == len(strides) <= DIMENSIONS and all(isinstance(n, int) for n in (*shape, *strides)):
                return Tensor(storage, offset, shape, strides)
        case _Global(name), (Tensor() as tensor, *_) if name == PARAMETER:
            return tensor
        case _Global(name), () if name == DICT:
            return {}
        case _Global(name), (list(pairs),) if name == DICT and all(len(pair) == 2 for pair in pairs):  # Python 2's way
            return _set({}, [key for key, _ in pairs], [value for _, value in pairs])
    raise ValueError("it would call something in a way that weights never do")


def _set(target: Any, keys: list[Any], values: list[Any]) -> dict[Any, Any]:
    if not isinstance(target, dict) or not all(isinstance(key, str | int) for key in keys):
        raise TypeError
    target.update(zip(keys, values, strict=True))
    return target
