"""Downloads of weights from a hub on this machine, and what is said of them before."""

import contextlib
import hashlib
import http.server
import json
import threading

import numpy as np
import pytest

from jtransfer._internal.errors import SourceError
from jtransfer.zoo import specs
from jtransfer.zoo.extraction import features

WHY = "models of other libraries; make models installs them"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CARD = "---\nlicense: cc-by-nc-4.0\n---\nA model.\n"

pytestmark = pytest.mark.timeout(300)


def images(n=20, side=32):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, side, side, 3)).astype(np.uint8)


def digest(content):
    return hashlib.sha1(content).hexdigest()


class Hub(http.server.BaseHTTPRequestHandler):
    """Serves the files of `repositories` as the hub of Hugging Face does."""

    repositories: dict[str, dict[str, bytes]] = {}
    requests: list[str] = []

    def log_message(self, *arguments):  # noqa: D102
        pass

    def do_HEAD(self):  # noqa: D102
        self._answer(body=False)

    def do_GET(self):  # noqa: D102
        self._answer(body=True)

    def _answer(self, *, body):
        path = self.path.partition("?")[0].strip("/")
        self.requests.append(path)
        for name, files in self.repositories.items():
            if path.startswith(f"api/models/{name}/tree/"):
                tree = [
                    {"type": "file", "path": k, "size": len(v), "oid": digest(v)}
                    for k, v in files.items()
                ]
                return self._send(json.dumps(tree).encode(), body)
            if path == f"api/models/{name}" or path.startswith(
                f"api/models/{name}/revision/"
            ):
                siblings = [{"rfilename": k, "size": len(v)} for k, v in files.items()]
                info = {
                    "id": name,
                    "modelId": name,
                    "sha": COMMIT,
                    "siblings": siblings,
                    "cardData": {"license": "cc-by-nc-4.0"},
                    "tags": [],
                    "private": False,
                    "downloads": 0,
                }
                return self._send(json.dumps(info).encode(), body)
            if path.startswith(f"{name}/resolve/"):
                file = path.split("/", 4)[4]
                if file in files:
                    return self._send(files[file], body)
        self.send_error(404)
        return None

    def _send(self, content, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{digest(content)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if body:
            self.wfile.write(content)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    Hub.repositories, Hub.requests = {}, []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield Hub
    server.shutdown()
    server.server_close()


def extracted(tmp_path, spec, x, **changes):
    settings = features.Extraction(cache=tmp_path / "cache", **changes)
    return features.extracted(specs.model_spec(spec), x, settings)


def rows(kept):
    (part,) = kept.folder.glob("part-*.npz")
    return np.load(part)["features"]


@contextlib.contextmanager
def refused(words):
    with pytest.raises(SourceError, match=words):
        yield


def test_a_model_of_the_hub(tmp_path, hub, capfd):
    transformers = pytest.importorskip("transformers", reason=WHY)
    torch = pytest.importorskip("torch", reason=WHY)
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=16,
    )
    folder = tmp_path / "vit"
    transformers.ViTModel(config).save_pretrained(folder)
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(folder)
    (folder / "README.md").write_text(CARD)
    (folder / "evil.py").write_text("raise SystemExit(7)")
    hub.repositories["some/vit"] = {p.name: p.read_bytes() for p in folder.iterdir()}
    x = images()
    with refused("some/vit is not on this machine.*it takes a download"):
        extracted(tmp_path, "hf:some/vit", x)
    assert hub.requests == []
    with refused("Its licence \\(cc-by-nc-4.0\\) is none of those asked for: mit"):
        extracted(tmp_path, "hf:some/vit", x, download=True, licences=("mit",))
    assert not any("resolve" in request for request in hub.requests)
    capfd.readouterr()
    fetched = extracted(tmp_path, "hf:some/vit@main", x, download=True)
    shown = capfd.readouterr().err
    assert f"fetching some/vit at {COMMIT}, " in shown
    assert "MB (licence: cc-by-nc-4.0)" in shown
    assert not any("evil" in request for request in hub.requests)
    assert fetched.record["facts"]["licence"] == "cc-by-nc-4.0"
    own = extracted(tmp_path, f"hf:{folder}", x)
    np.testing.assert_array_equal(rows(fetched), rows(own))
    count = len(hub.requests)
    again = extracted(tmp_path, "hf:some/vit@main?pool=cls", x)  # Nothing is fetched.
    assert rows(again).shape == (20, 16)
    assert len(hub.requests) == count
    with refused("no/model cannot be fetched"):
        extracted(tmp_path, "hf:no/model", x, download=True)


def test_a_model_of_timm(tmp_path, hub, capfd):
    timm = pytest.importorskip("timm", reason=WHY)
    save_file = pytest.importorskip("safetensors.torch", reason=WHY).save_file
    name = "mobilenetv3_small_050"  # 6 MB, the least that has weights of its own.
    model = timm.create_model(name, pretrained=False).eval()
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    repository = model.pretrained_cfg["hf_hub_id"]
    content = (tmp_path / "w.safetensors").read_bytes()
    hub.repositories[repository] = {
        "model.safetensors": content,
        "config.json": b'{"architecture": "mobilenetv3_small_050"}',
    }
    x = images(10)
    with refused(f"not on this machine; a download would fetch {repository}, 6 MB"):
        extracted(tmp_path, f"timm:{name}?size=64", x)
    assert hub.requests == []
    capfd.readouterr()
    fetched = extracted(tmp_path, f"timm:{name}?size=64", x, download=True)
    assert f"fetching {repository}, 6 MB (licence: " in capfd.readouterr().err
    own = extracted(
        tmp_path, f"timm:{name}?size=64&weights={tmp_path}/w.safetensors", x
    )
    np.testing.assert_array_equal(rows(fetched), rows(own))
