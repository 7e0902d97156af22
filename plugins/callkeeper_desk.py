"""The privacy desk in Airflow's menu. Every program of Airflow imports this file: what is dear comes with the first request."""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

PREFIX = "/callkeeper"


@cache
def _desk():
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.core_api.security import get_user
    from airflow.configuration import conf

    from callkeeper import connections, settings
    from callkeeper.desk.app import create
    from callkeeper.desk.seat import Host

    return create(
        Host(
            user=get_user,
            app=connections.app,
            secret=lambda: f"callkeeper desk {conf.get('api', 'secret_key')}".encode(),
            login=lambda path: get_auth_manager().get_url_login(next_url=path),
            api=lambda: settings.load().airflow_url,
        )
    )


async def desk(scope: Any, receive: Any, send: Any) -> None:
    """The page, which asks Airflow who is logged in."""
    await _desk()(scope, receive, send)


class CallkeeperDesk(AirflowPlugin):
    name = "callkeeper_desk"
    fastapi_apps: ClassVar = [{"app": desk, "url_prefix": PREFIX, "name": "callkeeper: privacy desk"}]
    external_views: ClassVar = [
        {
            "name": "Privacy",
            "href": f"{PREFIX}/",
            "destination": "nav",
            "url_route": "callkeeper",
            "nav_top_level": True,
            "icon": f"{PREFIX}/static/desk.svg",
        }
    ]
