"""Accounts, organisations and keys."""

from setting import expect


def accounts(s):
    made = s.client.create_user({"username": s.name, "email": s.name + "@example.com", "passwordHash": "", "shouldCreateHello": False})
    expect(made["username"], s.name, "username")
    found = s.request("GET", f"/v1/users/{s.name}")
    expect((found.status_code, found.json()["id"]), (200, made["id"]), "the user by name")
    expect(s.request("GET", f"/v1/users/{made['id']}").json()["username"], s.name, "the user by id")
    expect(s.client.get_user_errors(made["id"]), [], "errors of a user")
    types = {t["name"] for t in s.client.get_org_types()}
    expect({"basic", "legacy", "pro"} <= types, True, f"types of organisations: {types}")
    org = s.client.create_org({
        "org_name": s.name + "o", "org_label": "of a session", "org_contact_name": "Ada", "org_email": "ada@example.com",
        "org_url": "https://example.com", "external_id": "", "type_id": "basic", "resource_type": "organization",
    })
    expect(org["org_name"], s.name + "o", "org_name")
    expect(s.client.get_org(s.name + "o")["org_name"], s.name + "o", "the organisation by name")
    invited = s.client.invite_to_org(s.name + "o", s.name)
    expect(invited.status_code, 201, "a new member")
    invited = s.client.invite_to_org(s.name + "o", s.name)
    expect(invited.status_code, 200, "a member already")
    expect(s.client.get_organization_errors(s.name + "o"), [], "errors of an organisation")

    key = s.request("POST", f"/v1/users/{s.name}/keys", json={
        "key_label": "of a session", "key_type": "AlgorithmKey", "permissions": {"allow_algo": True, "algo_acl": ["algo://*"], "allow_data": True, "allow_data_write": True},
    })
    expect(key.status_code in (200, 201), True, f"a key: {key.status_code} {key.text}")
    token = key.json()["api_key"]
    listed = s.request("GET", f"/v1/users/{s.name}/keys")
    expect(token in listed.text, False, "the key is told again")
    expect("of a session" in listed.text, True, "the key is listed")
    for scheme in ("", "Simple ", "Bearer "):
        answer = s.request("GET", "/v1/data/", key=scheme + token)
        expect((answer.status_code, answer.json()["folders"][0]["name"]), (200, s.name), f"with {scheme or 'the bare'} key")
    expect(s.request("GET", f"/v1/users/{s.name}o", key=token).status_code in (403, 404), True, "what needs an admin")
