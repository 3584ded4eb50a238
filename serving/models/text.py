"""Words to the numbers that pictures of them have: the text tower beside an open_clip picture tower.

Radford et al., CLIP (arXiv:2103.00020): both towers were trained to agree, so that a text's vector may be
compared with a picture's. Where the picture tower's output is projected, the text's goes through the same
projection, bias and blocks: only so do the two stay in one space.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from serving.errors import BadInput, Unverified
from serving.models import extras, foreign
from serving.models.bundle import TOKENIZER, Bundle
from serving.models.card import Text
from serving.models.network import fill

PREFIX = "text."
MAX_CHARS = 1000  # of a text, so that cleaning it is bounded; what a tower reads is far shorter

Tokenizer = Callable[[Sequence[str]], Tensor]


class TextTower:
    """The text tower of one bundle. Safe to call from several threads.

    Raises ``Unverified`` when the bundle has none that is known, or its weights do not fit.
    """

    def __init__(self, bundle: Bundle, device: torch.device) -> None:
        house, _, name = bundle.card.architecture.partition("/")
        if bundle.card.text is None or house != "open_clip":
            raise Unverified(f"{bundle.name} {bundle.version}: only an open_clip architecture reads text")
        self._device = device
        self._tokens = tokenizer(bundle.card.text, bundle.files.get(TOKENIZER, b""))
        self._network = foreign.open_clip_texts(name)
        weights = {
            key.removeprefix(PREFIX): value for key, value in bundle.tensors.items() if key.startswith(PREFIX)
        }
        fill(self._network, weights, device)

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> Tensor:
        """What the tower says of each text: float32 (n, width) on the CPU, not unit length.

        Raises ``BadInput`` for a text that is empty or longer than ``MAX_CHARS``.
        """
        for place, text in enumerate(texts):
            if not text.strip() or len(text) > MAX_CHARS:
                raise BadInput(
                    f"texts[{place}] has {len(text)} characters; it must have 1 to {MAX_CHARS}, "
                    "and not be spaces alone"
                )
        said: Tensor = self._network(self._tokens(texts).to(self._device))
        return said.float().cpu()


def tokenizer(text: Text, file: bytes) -> Tokenizer:
    """Texts to tokens int64 (n, context_length). ``file`` is ``tokenizer.json`` where ``text`` says so.

    Raises ``Unverified`` where that is no tokenizer.
    """
    library = extras.open_clip()
    if text.tokenizer == "clip":
        clip: Tokenizer = library.tokenizer.SimpleTokenizer(context_length=text.context_length)
        return clip
    clean = library.tokenizer.get_clean_fn(text.clean)
    try:
        fast = extras.tokenizers().Tokenizer.from_buffer(file)
    except Exception as error:  # the library raises nothing narrower
        raise Unverified(f"the bundle's tokenizer.json is none: {error}") from error
    fast.enable_truncation(text.context_length)
    fast.enable_padding(length=text.context_length, pad_id=text.pad_id)

    def tokens(texts: Sequence[str]) -> Tensor:
        found = fast.encode_batch([clean(one) for one in texts])
        return torch.tensor([one.ids for one in found], dtype=torch.int64).reshape(-1, text.context_length)

    return tokens
