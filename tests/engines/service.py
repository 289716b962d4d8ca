"""A stand-in for the services that a Dataflow submission talks to, on this machine: Google's tokens and Dataflow."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

JOB = "2026-01-01_00_00_00-1"


class Service(ThreadingHTTPServer):
    """Grants any token, takes any job, and says that it is done."""

    def __init__(self) -> None:
        super().__init__(("localhost", 0), _Handler)
        self.jobs: list[dict] = []
        self.url = f"http://localhost:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def credentials(self) -> str:
        """A service account's key file that asks this server for tokens."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return json.dumps(
            {
                "type": "service_account",
                "project_id": "my-project",
                "private_key_id": "1",
                "private_key": pem.decode(),
                "client_email": "builder@my-project.iam.gserviceaccount.com",
                "client_id": "1",
                "token_uri": f"{self.url}/token",
            }
        )


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.path.startswith("/token"):
            self._send({"access_token": "t", "token_type": "Bearer", "expires_in": 3600})
            return
        self.server.jobs.append(json.loads(body))
        self._send(self._job())

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self._send({"metrics": []} if path.endswith("/metrics") else self._job())

    def _job(self) -> dict:
        return {
            "id": JOB,
            "projectId": "my-project",
            "location": "us-central1",
            "currentState": "JOB_STATE_DONE",
        }

    def _send(self, answer: dict) -> None:
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""
