import nats

from services.journal import connect


def test_a_setting_may_name_every_server_of_a_cluster():
    assert connect.servers("nats://t@a:1, nats://t@b:2,") == ["nats://t@a:1", "nats://t@b:2"]


async def test_a_server_that_is_not_there_keeps_nobody_from_another(server_url):
    client = await nats.connect(**connect.options(f"nats://127.0.0.1:9,{server_url}", name="test"))
    try:
        assert client.is_connected
    finally:
        await client.close()
