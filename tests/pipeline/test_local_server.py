"""The check of host names of local web servers."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from common.errors import UsageError
from pipeline.local_server import guard, listen, loopback_hosts, network_hosts


def test_browsers_leave_out_port_80() -> None:
    assert loopback_hosts(80)("localhost")
    assert loopback_hosts(80)("127.0.0.1:80")
    assert not loopback_hosts(80)("evil.example")
    assert not loopback_hosts(8080)("localhost")
    is_known = network_hosts("machine.lab.example", 80)
    for name in ("machine.lab.example", "192.168.1.9", "[::1]", "[::1]:80", "MACHINE.lab.example:80"):
        assert is_known(name)
    for name in ("evil.example", "evil.example:80", "localhost:8080", "[::1]:81"):
        assert not is_known(name)


def test_the_response_to_an_unknown_host_has_a_remedy() -> None:
    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.Response()

    request = make_mocked_request("GET", "/", headers={"Host": "localhost:9000"})
    response = asyncio.run(guard(loopback_hosts(8766), {})(request, handler))
    assert response.status == 421
    assert "Host name 'localhost:9000' is not one of this server" in response.text
    assert "use the same port on both ends" in response.text


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".example", "no-such-host.invalid"])
def test_a_host_that_is_no_name_of_this_machine_has_a_remedy(host: str) -> None:
    with pytest.raises(UsageError, match="give a name or an address of this machine"):
        listen(host, 0)
