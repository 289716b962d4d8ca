"""A stand-in for the Hugging Face hub: the requests that huggingface_hub makes for create_repo and upload_folder.

It keeps what it receives: files by path, and every request with its token. Large files come by the protocol of Git LFS.
"""

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REPOSITORY = "ada/ants"
TOKEN = "hf_of_ada"


@dataclass
class Hub:
    """What the hub has: whether the repository exists and is private, its files, its LFS objects, the commit messages."""

    created: dict[str, Any] | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    refuse_uploads: bool = False
    card_errors: list[str] = field(default_factory=list)
    url: str = ""

    @property
    def page(self) -> str:
        """The web page of the repository."""
        return f"{self.url}/datasets/{REPOSITORY}"


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: int, value: Any = None, **headers: str) -> None:
        data = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def allowed(self) -> bool:
        self.hub.requests.append(f"{self.command} {self.path.split('?')[0]}")
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return True
        self.body()
        self.answer(
            401, {"error": "Invalid username or password."}, X_Error_Message="Invalid username or password."
        )
        return False

    def do_GET(self) -> None:
        if not self.allowed():
            return
        path = self.path.split("?")[0]
        if path == f"/api/datasets/{REPOSITORY}/tree/main":
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in self.hub.files.items()
            ]
            self.answer(200, entries)
        else:
            self.answer(404, {"error": f"no such path: {path}"})

    def do_PUT(self) -> None:
        data = self.body()  # an upload needs no token: the address is the secret
        if self.hub.refuse_uploads:
            self.answer(403, {"error": "the address has expired"})
            return
        oid = self.path.rsplit("/", 1)[-1]
        assert hashlib.sha256(data).hexdigest() == oid
        self.hub.objects[oid] = data
        self.answer(200)

    def do_POST(self) -> None:
        if not self.allowed():
            return
        path, body = self.path.split("?")[0], self.body()
        if path == "/api/repos/create":
            if self.hub.created:
                self.answer(409, {"error": "You already created this dataset repo", "url": self.hub.page})
                return
            self.hub.created = json.loads(body)
            self.answer(200, {"url": self.hub.page, "name": REPOSITORY})
        elif path == "/api/validate-yaml":
            errors = [{"message": text} for text in self.hub.card_errors]
            self.answer(400 if errors else 200, {"errors": errors, "warnings": []})
        elif path == f"/api/datasets/{REPOSITORY}/preupload/main":
            found = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".parquet") else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            self.answer(200, {"files": found})
        elif path == f"/datasets/{REPOSITORY}.git/info/lfs/objects/batch":
            found = [
                {**each, "actions": {"upload": {"href": f"{self.hub.url}/upload/{each['oid']}"}}}
                if each["oid"] not in self.hub.objects
                else each
                for each in json.loads(body)["objects"]
            ]
            self.answer(200, {"transfer": "basic", "objects": found})
        elif path == f"/api/datasets/{REPOSITORY}/commit/main":
            self.commit([json.loads(line) for line in body.splitlines()])
        else:
            self.answer(404, {"error": f"no such path: {path}"})

    def commit(self, operations: list[dict[str, Any]]) -> None:
        for operation in operations:
            key, value = operation["key"], operation["value"]
            if key == "header":
                self.hub.commits.append(value["summary"])
            elif key == "file":
                self.hub.files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                self.hub.files[value["path"]] = self.hub.objects[value["oid"]]
            elif key == "deletedFile":
                del self.hub.files[value["path"]]
            else:
                raise AssertionError(key)
        oid = f"{len(self.hub.commits):040x}"
        url = f"{self.hub.page}/commit/{oid}"
        self.answer(200, {"commitUrl": url, "commitOid": oid, "success": True})


def serve() -> tuple[Hub, ThreadingHTTPServer]:
    """Start the stand-in on loopback."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return hub, server
