import re

from flask.testing import FlaskClient


def test_swagger_ui_is_served_at_the_root_with_its_files(client: FlaskClient) -> None:
    page = client.get("/")

    assert page.status_code == 200
    assert "swagger.json" in page.text
    files = re.findall(r'(?:src|href)="(/swaggerui/[^"]+)"', page.text)
    assert files
    for file in files:
        with client.get(file) as answer:
            assert answer.status_code == 200, file


def test_swagger_documents_the_login(client: FlaskClient) -> None:
    login = client.get("/swagger.json").get_json()["paths"]["/user_manage/user/login"]

    assert list(login) == ["post"]
    assert login["post"]["responses"] == {"200": {"description": "Logged in"}}


def test_an_unknown_path_answers_json(client: FlaskClient) -> None:
    answer = client.get("/nowhere")

    assert answer.status_code == 404
    assert answer.is_json
    assert "message" in answer.get_json()
