"""Uploads to the loopback hub: new repositories, checks of cards, large files in one or many parts, commits.

Faults are named by step instead of by method: ``create``, ``yaml``, ``preupload``, ``batch``, ``put``,
``verify`` or ``commit``. ``status`` answers with it; ``cut`` closes the connection without an answer, before
anything is done, or after it where ``whole`` is set too.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import yaml
from hub_server import Fault, Repo, Seen, entry

#: Steps of an upload: the form of the address → the name of the method and of its faults.
POSTS = {
    r"/api/repos/create": "create",
    r"/api/validate-yaml": "yaml",
    r"/api/models/([^/]+/[^/]+)/preupload/([^/]+)": "preupload",
    r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch": "batch",
    r"/lfs/([^/]+/[^/]+)/([0-9a-f]{64})/complete": "complete",
    r"/lfs/([^/]+/[^/]+)/([0-9a-f]{64})/verify": "verify",
    r"/api/models/([^/]+/[^/]+)/commit/([^/]+)": "commit",
    r"/api/models/([^/]+/[^/]+)/paths-info/([^/]+)": "paths",
}
_OPEN = (
    "put",
    "complete",
    "paths",
)  # to whom a repository is open; the storage's addresses are signed
FRONT = re.compile(r"^---\n(.*?)\n---\n", re.DOTALL)


class RefusedError(Exception):
    """The Hub says no."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Uploads:
    """POST and PUT of the Hub, and what its API says of repositories that were written.

    The server may have ``multipart``, the size of parts that large files are asked for in, and
    ``before_commit``, called when a commit comes in, and ``after_commit``, called with it when it is made.
    """

    server: Any
    disable_nagle_algorithm = True  # else each answer waits for a late acknowledgement

    def do_POST(self) -> None:
        path = self._seen()
        body = self._body()
        for form, step in POSTS.items():
            if match := re.fullmatch(form, path):
                self._stepped(step, body, match.groups())
                return
        self.answer(404, {"error": "no such page"})

    def do_PUT(self) -> None:
        match = re.fullmatch(r"/lfs/([^/]+/[^/]+)/([0-9a-f]{64})/(\d+)", self._seen())
        body = self._body()
        if match is None:
            self.answer(404, {"error": "no such page"})
        else:
            self._stepped("put", body, match.groups())

    def _stepped(self, step: str, body: bytes, words: tuple[str, ...]) -> None:
        fault = self.server.next_fault(step)
        if fault.status:
            said = {"error": "as told", "errors": [{"message": "as told"}]}
            self.answer(fault.status, said, code=fault.code, headers=fault.headers)
            return
        if fault.cut is not None and not fault.whole:
            self.break_off(reset=fault.reset)
            return
        try:
            if step not in _OPEN:
                self._authorised()
            answer = getattr(self, f"_{step}")(body, *words)
        except RefusedError as refused:
            message = str(refused)
            reported = {"error": message, "errors": [{"message": message}]}
            headers = {"X-Error-Message": message, "X-Error-Code": refused.code}
            self.answer(refused.status, reported, headers=headers)
            return
        if fault.cut is not None:
            self.break_off(reset=fault.reset)
        elif step == "put":
            self.answer(200, {}, headers={"ETag": answer})
        else:
            self.answer(200, answer)

    def _authorised(self) -> None:
        if self.headers["Authorization"] != f"Bearer {self.server.token}":
            raise RefusedError(401, "Invalid credentials in Authorization header")

    def _create(self, body: bytes) -> dict[str, Any]:
        posted = json.loads(body)
        name = f"{posted['organization']}/{posted['name']}"
        if name in self.server.repos:
            raise RefusedError(409, "You already created this model repo")
        first = {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}
        commit = hashlib.sha1(name.encode()).hexdigest()
        private = posted.get("visibility") == "private" or bool(posted.get("private"))
        self.server.repos[name] = Repo({commit: first}, head=commit, private=private)
        return {"url": f"{self.server.url}/{name}", "name": name}

    def _paths(self, body: bytes, name: str, revision: str) -> list[dict[str, Any]]:
        repo = self.server.repos[name]
        files = repo.files[repo.head if revision == "main" else revision]
        wanted = {path for key, path in parse_qsl(body.decode()) if key == "paths"}
        if body.startswith(b"{"):
            wanted = set(json.loads(body)["paths"])
        return [entry(file, data) for file, data in files.items() if file in wanted]

    def _yaml(self, body: bytes) -> dict[str, Any]:
        content = json.loads(body)["content"]
        match = FRONT.match(content)
        if match is None:
            return {"errors": [], "warnings": [{"message": "empty or missing yaml metadata"}]}
        data = yaml.safe_load(match[1])
        for key in ("license", "pipeline_tag", "library_name"):
            if not re.fullmatch(r"[a-z0-9][a-z0-9._+-]*", str(data.get(key, ""))):
                raise RefusedError(400, f'"{key}" must be an identifier')
        for index in data.get("model-index", []):
            for result in index["results"]:
                if not {"type", "name"} <= set(result["dataset"]) or "type" not in result["task"]:
                    raise RefusedError(400, '"model-index" needs a task and a data set')
                if not all({"type", "value"} <= set(metric) for metric in result["metrics"]):
                    raise RefusedError(400, '"model-index" needs metrics with a value')
        return {"errors": [], "warnings": []}

    def _preupload(self, body: bytes, name: str, revision: str) -> dict[str, Any]:
        repo = self._repo(name)
        there = repo.files[repo.head]
        answers = []
        for file in json.loads(body)["files"]:
            large = file["path"].endswith(".safetensors")
            old = there.get(file["path"])
            answers.append(
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if large else "regular",
                    "shouldIgnore": False,
                    "oid": old and (sha256(old) if large else blob_id(old)),
                }
            )
        return {"files": answers}

    def _batch(self, body: bytes, name: str) -> dict[str, Any]:
        repo = self._repo(name)
        objects = []
        for posted in json.loads(body)["objects"]:
            oid, size = posted["oid"], posted["size"]
            found: dict[str, Any] = {"oid": oid, "size": size}
            if oid not in repo.lfs:
                at = f"{self.server.url}/lfs/{name}/{oid}"
                upload: dict[str, Any] = {"href": f"{at}/1?signature=secret"}
                if part := getattr(self.server, "multipart", None):
                    count = -(-size // part)
                    parts = {str(i): f"{at}/{i}?signature=secret" for i in range(1, count + 1)}
                    upload = {
                        "href": f"{at}/complete",
                        "header": {"chunk_size": str(part), **parts},
                    }
                found["actions"] = {"upload": upload, "verify": {"href": f"{at}/verify"}}
            objects.append(found)
        return {"transfer": "basic", "objects": objects}

    def _put(self, body: bytes, name: str, oid: str, part: str) -> str:
        if self.headers["Authorization"] is not None:
            raise RefusedError(400, "the storage was sent somebody's token")
        if getattr(self.server, "multipart", None):
            self._parts(name)[oid, int(part)] = body
        elif sha256(body) != oid:
            raise RefusedError(400, "other bytes than announced")
        else:
            self._repo(name).lfs[oid] = body
        return f'"{hashlib.md5(body).hexdigest()}"'

    def _complete(self, body: bytes, name: str, oid: str) -> dict[str, Any]:
        parts = self._parts(name)
        listed = json.loads(body)["parts"]
        for part in listed:
            sent = f'"{hashlib.md5(parts[oid, part["partNumber"]]).hexdigest()}"'
            if part["etag"] != sent:
                raise RefusedError(400, "another part than was sent")
        data = b"".join(parts[oid, part["partNumber"]] for part in listed)
        if sha256(data) != oid:
            raise RefusedError(400, "other bytes than announced")
        self._repo(name).lfs[oid] = data
        return {}

    def _verify(self, body: bytes, name: str, oid: str) -> dict[str, Any]:
        posted = json.loads(body)
        data = self._repo(name).lfs.get(oid)
        if data is None or len(data) != posted["size"] or posted["oid"] != oid:
            raise RefusedError(404, "no such object")
        return {}

    def _commit(self, body: bytes, name: str, revision: str) -> dict[str, Any]:
        getattr(self.server, "before_commit", lambda: None)()
        repo = self._repo(name)
        files = dict(repo.files[repo.head])
        header, *rest = (json.loads(line) for line in body.splitlines())
        parent = header["value"].get("parentCommit")
        if parent not in (None, repo.head):
            raise RefusedError(412, "A commit has happened since. Please refresh and try again.")
        for item in rest:
            path = item["value"]["path"]
            if item["key"] == "deletedFile":
                del files[path]
            elif item["key"] == "lfsFile":
                if item["value"]["oid"] not in repo.lfs:
                    raise RefusedError(400, f"the content of {path} was not uploaded")
                files[path] = repo.lfs[item["value"]["oid"]]
            else:
                files[path] = base64.b64decode(item["value"]["content"])
        commit = hashlib.sha1(body + str(repo.head).encode()).hexdigest()
        repo.files[commit], repo.head = files, commit
        getattr(self.server, "after_commit", lambda commit: None)(commit)
        return {
            "success": True,
            "commitOid": commit,
            "commitUrl": f"{self.server.url}/{name}/commit/{commit}",
        }

    def describe(self, name: str, repo: Repo, what: str | None, revision: str | None) -> None:
        """As the Hub does, the card's front matter and the hashes of large files included."""
        commit = repo.head if revision in (None, "main") else revision
        if what == "tree" or commit not in repo.files:
            super().describe(name, repo, what, revision)  # type: ignore[misc]
            return
        files = repo.files[commit]
        match = FRONT.match(files.get("README.md", b"").decode())
        card = yaml.safe_load(match[1]) if match else {}
        siblings = []
        for file, data in files.items():
            row: dict[str, Any] = {"rfilename": file, "size": len(data), "blobId": blob_id(data)}
            if file.endswith(".safetensors"):
                row["lfs"] = {"size": len(data), "sha256": sha256(data), "pointerSize": 134}
            siblings.append(row)
        facts = {"_id": "0", "id": name, "modelId": name, "sha": commit, "private": repo.private}
        library = {"cardData": card, "library_name": card.get("library_name")}
        self.answer(200, {**facts, "gated": False, "siblings": siblings, **library})

    def _repo(self, name: str) -> Repo:
        repo: Repo | None = self.server.repos.get(name)
        if repo is None:
            raise RefusedError(404, "Repository not found", "RepoNotFound")
        return repo

    def _parts(self, name: str) -> dict[tuple[str, int], bytes]:
        if not hasattr(self.server, "parts"):
            self.server.parts = {}
        parts: dict[tuple[str, int], bytes] = self.server.parts.setdefault(name, {})
        return parts

    def _seen(self) -> str:
        path = unquote(urlsplit(self.path).path)
        heads = self.headers
        self.server.seen.append(
            Seen(self.command, path, heads["Range"], heads["Authorization"], heads["Host"])
        )
        return path

    def _body(self) -> bytes:
        if self.headers["Transfer-Encoding"] != "chunked":
            return bytes(self.rfile.read(int(self.headers["Content-Length"] or 0)))
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def blob_id(data: bytes) -> str:
    """As git counts it."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def fault(step: str, **how: Any) -> Fault:
    """The next request of a step goes wrong."""
    return Fault(step, **how)
