"""From which folders a decoding process imports modules."""

import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[3]
PROGRAM = """
import sys
from pipeline.ingest_config import IngestConfig
from pipeline.ingest.decode_pool import DecodePool
from pipeline.ingest.process_image import ImageRequest

pool = DecodePool(sys.argv[1], IngestConfig(size=16), 1)
print(dict(pool.process_all([(0, ImageRequest("0.png"))])))
pool.close()
"""


def test_decoders_run_no_code_of_the_working_folder(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "random.py").write_text("open('ran', 'w').close()\nraise SystemExit(9)\n")
    (tmp_path / "program.py").write_text(PROGRAM)
    Image.new("RGB", (40, 40)).save(tmp_path / "0.png")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "program.py"), str(tmp_path)], cwd=tmp_path / "work", check=True,
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert "ProcessedImage" in done.stdout
    assert os.listdir(tmp_path / "work") == ["random.py"]


def test_decoders_import_from_the_working_folder_if_their_parent_does(tmp_path: Path) -> None:
    for name in ("common", "pipeline", "schemas"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "sitecustomize.py").write_text("import os\nopen(f'{os.getpid()}.started', 'w').close()\n")
    Image.new("RGB", (40, 40)).save(tmp_path / "0.png")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], cwd=tmp_path, check=True,
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert "ProcessedImage" in done.stdout
    assert len(list(tmp_path.glob("*.started"))) == 1  # that of the decoder
