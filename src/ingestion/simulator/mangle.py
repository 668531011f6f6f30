"""Applies faults to one connection's data frames: drops, duplicates, reorders, batches, corrupts or misdates them."""

from dataclasses import replace

import numpy as np

from ingestion.simulator.faults import FRAME_KINDS, Fault, Faults
from ingestion.simulator.wire import Frame

_WRONG = (
    "[1,2,3]",
    '{"channel":"trade","type":"update","data":{"price":1}}',
    '{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD"}]}',
    '{"channel":7}',
    '{"hello":"world"}',
    '{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":-1.0,"qty":1.0,'
    '"ord_type":"limit","trade_id":-3,"timestamp":"2026-02-30T00:00:00Z"}]}',
)
_MAX_BATCH = 8


class Mangler:
    """Turns each frame into the texts to send instead; may hold a frame back until the next one."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._batched: list[Frame] = []
        self._overtaken: list[str] = []

    def through(self, frame: Frame) -> list[str]:
        """The texts to send now."""
        for kind in FRAME_KINDS:
            fault = self._faults.roll(kind, frame.channel, frame.symbol)
            if fault is not None:
                return self._mangled(frame, fault)
        return self._in_order([self._merged(frame).text()])

    def _mangled(self, frame: Frame, fault: Fault) -> list[str]:
        text = frame.text()
        match fault.kind:
            case "drop":
                return []
            case "double":
                return self._in_order([text, text])
            case "reorder" if not self._overtaken:
                self._overtaken.append(text)
                return []
            case "batch" if len(self._batched) < _MAX_BATCH:
                self._batched.append(frame)
                return []
            case "reorder" | "batch":
                return self._in_order([self._merged(frame).text()])
            case "corrupt":
                return self._in_order([self._corrupted(text)])
            case "wrong":
                return self._in_order([self._faults.dice.choice(_WRONG), text])
            case "huge":
                return self._in_order([text[:-1] + f',"filler":"{"x" * fault.bytes}"}}'])
            case _:
                return self._in_order([_ahead(frame, fault.seconds).text()])

    def _in_order(self, texts: list[str]) -> list[str]:
        """The texts, followed by those that they overtake."""
        texts, self._overtaken = texts + self._overtaken, []
        return texts

    def _merged(self, frame: Frame) -> Frame:
        """The frame together with the waiting ones of its channel, oldest first."""
        waiting = [old for old in self._batched if old.channel == frame.channel]
        if not waiting:
            return frame
        self._batched = [old for old in self._batched if old.channel != frame.channel]
        return replace(frame, items=tuple(item for each in (*waiting, frame) for item in each.items))

    def _corrupted(self, text: str) -> str:
        """The text corrupted so that any parser notices: TLS would not let subtle corruption through."""
        dice = self._faults.dice
        spot = dice.randrange(1, len(text))
        choices = (
            text[:spot],
            text[:spot] + "\ufffd\x00" + text[spot:],
            text.replace('"symbol":', '"symbool":'),
            text.replace('"timestamp":"2', '"timestamp":"x'),
            text.replace('price":', 'price":null,"was":').replace('"bid":', '"bid":NaN,"was":'),
        )
        return dice.choice(choices)


def _ahead(frame: Frame, seconds: float) -> Frame:
    """The frame with its times moved into the future."""
    shift = np.timedelta64(round(seconds * 1e6), "us")
    items = []
    for item in frame.items:
        before, mark, rest = item.rpartition('"timestamp":"')
        time, after = rest[:26], rest[26:]
        items.append(f"{before}{mark}{np.datetime64(time, 'us') + shift}{after}")
    return replace(frame, items=tuple(items))
