"""`weft keys`: what an administrator makes, others use, and what is revoked lets nobody in."""

import json

import httpx2


def test_a_key_is_made_used_and_revoked(weft, system):
    made = weft("keys", "create", "--owner", "shop", "--name", "backend", "--concurrent-runs", "3", "-o", "json")
    assert made[0] == 0, made[2]
    key = json.loads(made[1])
    assert (key["owner"], key["scopes"], key["concurrentRuns"]) == ("shop", ["run"], 3)
    with httpx2.Client(base_url=str(system.api.base_url), headers={"Authorization": f"Bearer {key['key']}"}) as shop:
        assert shop.get("/api/workflows").json() == {"workflows": []}
        assert shop.get("/api/keys").status_code == 403

    listed = weft("keys", "list")
    assert listed[0] == 0
    assert any(key["keyId"] in line and "3 runs" in line for line in listed[1].splitlines())
    assert key["key"] not in listed[1]

    assert weft("keys", "revoke", key["keyId"])[0] == 2  # nobody to ask
    exit_code, out, _ = weft("keys", "revoke", key["keyId"], "-y")
    assert (exit_code, key["keyId"] in out) == (0, True)


def test_for_people_the_key_alone_is_printed(weft):
    exit_code, out, _ = weft("keys", "create", "--owner", "shop", "--scope", "read", "--expires", "2999-01-01")
    assert exit_code == 0
    assert out.startswith("weft_")
    assert len(out.split()) == 1
