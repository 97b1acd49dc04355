"""An integer input takes the camera's luma as it is, whatever its zero point."""

from pathlib import Path

import numpy as np
import pytest
from runtime_files import flat, pictures, tflite
from tiny_bundle import SIZE, _network

from device.bundle import MODEL_FILE, Tensor
from device.runtime import Model


@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")
def test_an_int8_input_gives_what_a_uint8_input_gives(bundle_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "int8.tflite"
    network = _network()
    path.write_bytes(tflite(lambda luma: network.logits(luma), (1, SIZE, SIZE, 1), int8="int8"))
    signed, unsigned = Model(path), Model(bundle_dir / "int8-full" / MODEL_FILE)
    assert signed.input == Tensor((1, SIZE, SIZE, 1), "NHWC", "int8", 1.0, -128)
    assert signed.output == unsigned.output
    for picture in pictures():
        assert signed.logits(picture).tobytes() == unsigned.logits(picture).tobytes()


@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")
@pytest.mark.parametrize("centre", [114, 128, 255])
def test_an_int8_input_gets_luma_minus_128_whatever_its_zero_point(
    bundle_dir: Path, tmp_path: Path, centre: int
) -> None:
    """The same network, of luma - centre: its zero point says so, and every picture has the same answer."""
    path = tmp_path / "centred.tflite"
    network = _network()
    path.write_bytes(
        tflite(lambda x: network.logits(x + float(centre)), (1, SIZE, SIZE, 1), int8="int8", centre=centre)
    )
    centred, plain = Model(path), Model(bundle_dir / "float32" / MODEL_FILE)
    assert centred.input == Tensor((1, SIZE, SIZE, 1), "NHWC", "int8", 1.0, centre - 128)
    for luma in (0, 1, 127, 128, 129, 254, 255):
        centred.logits(flat(luma))
        stored = centred._interpreter.get_tensor(centred._in)
        assert (stored == luma - 128).all()
    for picture in pictures():
        wanted = plain.logits(picture)
        inside = np.abs(wanted / centred.output.scale + centred.output.zero_point) <= 127
        assert np.abs(centred.logits(picture) - wanted)[inside].max() < 4 * centred.output.scale
