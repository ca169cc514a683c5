"""Access: the one place that knows who asks, and says what they may. What no rule allows is denied.

Who asks shows a token that was signed here, whose scopes were decided by the rules when it was given; or a name with a
password or a robot's secret, or nothing, and then the rules decide at once (``rules``, with what ``grants`` reads).

What somebody may not pull looks to them as if it were not there: with or without a repository behind the name they are
told the same, and a list does not show it.

    nobody, or a token that does not allow it   401 with the scope that would, so that a client can ask for a token
    a name and password, reading                404
    a name and password, changing something     403
"""

from __future__ import annotations

import base64
import binascii
import secrets
import time

from cais.catalog import rules
from cais.catalog.attempts import Attempts
from cais.catalog.errors import CatalogError, NameInvalid, NameUnknown, NotAllowed, NotGranted, NotKnown
from cais.catalog.grants import account_rights, rights_of, robot_rights
from cais.catalog.keys import signing_keys
from cais.catalog.names import repository_name
from cais.catalog.passwords import SECRET_PREFIX, Passwords, secret_hash
from cais.catalog.rules import ACCOUNT, ANONYMOUS, Rights, Seen, Subject, decide
from cais.catalog.rules import DELETE as DELETE
from cais.catalog.rules import PULL as PULL
from cais.catalog.rules import PUSH as PUSH
from cais.catalog.scopes import CATALOG, EVERY_ACTION, REGISTRY, REPOSITORY, Scope
from cais.catalog.tokens import BadToken, Signed, Tokens
from cais.records import accounts, repositories, robots
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from cais.catalog.settings import AccessSettings
    from cais.catalog.tokens import Claims
    from cais.records.database import Database
    from cais.records.robots import Robot

# What may be done with the registry itself: find out how to sign in, and see which repositories there are; SEARCH is
# the latter for Docker's daemon, which has a scope of its own for it, and knows no tokens without a login.
ENTER, LIST, SEARCH = "enter", "list", "search"

_LOGIN_PREFIX = "caislogin_"
_CREDENTIALS_LIMIT = 4096
_USE_IS_NOTED_SECONDS = 3600.0
_WRONG = "incorrect username or password"


class Who(NamedTuple):
    """Who asks. The ``claims`` of a token decide what is allowed; without a token the ``rights`` do."""

    subject: Subject
    rights: Rights = rules.NO_RIGHTS
    claims: Claims | None = None

    @property
    def name(self) -> str:
        """As logs and events name them; "" is who has not said it."""
        return "" if self.subject.kind == ANONYMOUS else str(self.subject)


NOBODY = Who(Subject(ANONYMOUS))


class Access:
    """One for a process. Methods block (the records, a password's hash) but ``remembered``, and may be called from many
    threads."""

    def __init__(self, database: Database, settings: AccessSettings) -> None:
        self.service = settings.service
        self._database, self._settings = database, settings
        keys = signing_keys(database, settings)
        self._tokens = Tokens(keys, settings.service, int(settings.token_seconds))
        self._passwords = Passwords(Attempts(database))

    # Who it is

    def remembered(self, authorization: str) -> Who | None:
        """As ``identify``, where it is known without waiting for anything; else None."""
        if authorization[:7].lower() == "bearer ":
            claims = self._tokens.remembered(authorization[7:].strip())
            return None if claims is None else Who(claims.subject, claims=claims)
        if not authorization and self._settings.anonymous == rules.OPEN_NOTHING:
            return NOBODY
        if not authorization and self._settings.anonymous == rules.OPEN_ALL:
            return Who(NOBODY.subject, rules.anonymous(rules.OPEN_ALL, ()))
        return None

    def identify(self, authorization: str, address: str = "") -> Who:
        """By the value of the header ("": there is none). ``address`` is where the request comes from.

        Raises NotKnown, TooManyAttempts, Unavailable.
        """
        known = self.remembered(authorization)
        if known is not None:
            return known
        if not authorization:
            with self._database.reading() as connection:
                return Who(NOBODY.subject, rights_of(connection, NOBODY.subject, self._settings.anonymous))
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() == "bearer":
            try:
                claims = self._tokens.verify(value.strip())
            except BadToken as error:
                raise NotKnown(error.message, problem="invalid_token") from None
            return Who(claims.subject, claims=claims)
        if scheme.lower() == "basic":
            return self.sign_in(*_basic(value), address)
        raise NotKnown("the credentials are neither Basic nor Bearer")

    def takes_time(self, name: str, secret: str) -> bool:
        """Whether a password has to be hashed, as far as one can tell without asking the records."""
        return not secret.startswith(SECRET_PREFIX) and not self._passwords.was_right(name, secret)

    def header_takes_time(self, authorization: str) -> bool:
        """The same of the value of a header."""
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            return self.takes_time(*_basic(value))
        except NotKnown:
            return False

    def sign_in(self, name: str, secret: str, address: str = "") -> Who:
        """By a password, or the secret of a robot. Raises NotKnown, TooManyAttempts, Unavailable."""
        with self._database.reading() as connection:
            if secret.startswith(SECRET_PREFIX):  # no password does
                robot = robots.by_secret(connection, secret_hash(secret))
                if robot is None:
                    raise NotKnown(_WRONG)
                return self._robot(connection, robot, name)
            account = accounts.by_name(connection, name)
            kept = "" if account is None else account.password_hash
            if account is not None and not account.is_disabled and self._passwords.remembers(name, secret, kept):
                return Who(Subject(ACCOUNT, account.name), account_rights(connection, account))
        # No connection is held meanwhile: this takes its time, and there may be a queue.
        if not self._passwords.right(name, secret, kept, address) or account is None or account.is_disabled:
            raise NotKnown(_WRONG)
        with self._database.reading() as connection:
            return Who(Subject(ACCOUNT, account.name), account_rights(connection, account))

    def _robot(self, connection: Connection, robot: Robot, name: str) -> Who:
        now = time.time()
        if name not in (robot.name, robot.owner or robot.name):
            raise NotKnown(_WRONG)
        if robot.expires_unix is not None and robot.expires_unix <= now:
            raise NotKnown("the token has expired")
        if now - (robot.used_unix or 0.0) > _USE_IS_NOTED_SECONDS:
            self._database.write(lambda writing: robots.used(writing, robot.id, now))
        rights = robot_rights(connection, robot)
        return Who(rights.subject, rights)

    # Docker's token protocol

    def issue(self, who: Who, scopes: Sequence[Scope]) -> tuple[Signed, tuple[Scope, ...]]:
        """A token with as much of ``scopes`` as is allowed, perhaps nothing; and what that is.

        Raises NotKnown (to nobody where nothing is open, and for a token, which must not live on by itself).
        """
        if who.claims is not None or (not who.name and self._settings.anonymous == rules.OPEN_NOTHING):
            raise NotKnown("authentication required")
        with self._database.reading() as connection:
            allowed = tuple(filter(None, (self._allowed(connection, who.rights, scope) for scope in scopes)))
        return self._tokens.sign(who.subject, allowed), allowed

    def _allowed(self, connection: Connection, rights: Rights, scope: Scope) -> Scope | None:
        if scope.kind == REGISTRY and scope.name == CATALOG:
            # Its lists show what may be seen.
            actions = tuple(action for action in (EVERY_ACTION, SEARCH) if action in scope.actions)
            return scope._replace(actions=actions) if actions else None
        if scope.kind != REPOSITORY:
            return None
        try:
            repository_name(scope.name)
        except NameInvalid:
            return None
        asked = (PULL, PUSH, DELETE) if EVERY_ACTION in scope.actions else scope.actions
        may = decide(rights, scope.name, public=repositories.is_public(connection, scope.name))
        actions = tuple(action for action in (PULL, PUSH, DELETE) if action in asked and action in may)
        return scope._replace(actions=actions) if actions else None

    def begin_login(self, who: Who, client: str) -> str:
        """What ``docker login`` keeps instead of a password ("": keep the secret of the robot)."""
        if who.subject.kind != ACCOUNT or who.claims is not None:
            return ""
        secret = _LOGIN_PREFIX + secrets.token_urlsafe(32)
        ends = time.time() + self._settings.login_seconds

        def write(connection: Connection) -> None:
            account = accounts.by_name(connection, who.subject.name)
            if account is None or account.is_disabled:
                raise NotKnown(_WRONG)
            accounts.add_login(connection, account.id, secret_hash(secret), client, ends)

        self._database.write(write)
        return secret

    def resume_login(self, secret: str) -> Who:
        """Raises NotKnown."""
        if len(secret) > _CREDENTIALS_LIMIT:
            raise NotKnown("the refresh token is not valid")
        with self._database.reading() as connection:
            account = accounts.by_login(connection, secret_hash(secret), time.time())
            if account is None or account.is_disabled:
                raise NotKnown("the refresh token is not valid")
            return Who(Subject(ACCOUNT, account.name), account_rights(connection, account))

    # What they may

    def allows(self, who: Who, action: str, repository: str) -> bool:
        """Whether ``who`` may pull from, push to or delete in ``repository``, which need not exist."""
        if who.claims is not None:
            return who.claims.allows(REPOSITORY, repository, action)
        if action in decide(who.rights, repository, public=False):
            return True
        if action != PULL or action not in decide(who.rights, repository, public=True):
            return False
        return repositories.look_public(self._database, repository)

    def would_grant(self, who: Who, action: str, repository: str) -> bool:
        """Whether ``who`` came with a token, and another one would be given that allows this."""
        if who.claims is None:
            return False
        with self._database.reading() as connection:
            rights = rights_of(connection, who.subject, self._settings.anonymous)
            return self._allowed(connection, rights, Scope(REPOSITORY, repository, (action,))) is not None

    def require(self, who: Who, action: str, repository: str) -> None:
        """Returns where it is allowed; ``repository`` is "" for ENTER, LIST and SEARCH.

        Raises NotKnown, NameUnknown or NotAllowed, as the page above says.
        """
        if action in (ENTER, LIST, SEARCH):
            self._require_known(who, action)
        elif not self.allows(who, action, repository):
            raise self.refusal(who, action, repository)

    def refusal(self, who: Who, action: str, repository: str) -> CatalogError:
        """As the page above says. With a token: which one would do."""
        # Who pushes asks what is there already.
        actions = f"{PULL},{PUSH}" if action == PUSH else action
        scope = f"{REPOSITORY}:{repository}:{actions}"
        if who.claims is not None:
            return NotGranted("requested access to the resource is denied", scope, "insufficient_scope")
        if not who.name:
            return NotKnown("authentication required", scope)
        if action == PULL:
            return NameUnknown("repository name not known to registry", {"name": repository})
        return NotAllowed("requested access to the resource is denied", {"name": repository, "action": action})

    def _require_known(self, who: Who, action: str) -> None:
        """Nobody is let in here who could see more, and does not know yet how to sign in: a client asks only once."""
        scope = "" if action == ENTER else f"{REGISTRY}:{CATALOG}:{EVERY_ACTION}"
        if who.claims is not None:
            wanted = {LIST: (EVERY_ACTION,), SEARCH: (EVERY_ACTION, SEARCH)}.get(action)
            if wanted and not any(who.claims.allows(REGISTRY, CATALOG, one) for one in wanted):
                raise NotGranted("requested access to the resource is denied", scope, "insufficient_scope")
        elif action == SEARCH and (who.rights.reads_public or who.rights.grants):
            return
        elif not who.name and not who.rights.everything:
            raise NotKnown("authentication required", scope)

    def readable(self, who: Who) -> tuple[Seen, ...]:
        """The repositories that ``allows`` lets ``who`` pull, for a query."""
        if who.claims is None:
            return rules.seen(who.rights)
        scopes = [scope for scope in who.claims.scopes if scope.kind == REPOSITORY and PULL in scope.actions]
        return (Seen(False, False, tuple(scope.name for scope in scopes)),)

    def seen(self, who: Who) -> tuple[Seen, ...]:
        """What a list of repositories may show to ``who``."""
        if who.claims is None:
            return rules.seen(who.rights)
        with self._database.reading() as connection:
            return rules.seen(rights_of(connection, who.subject, self._settings.anonymous))


def _basic(value: str) -> tuple[str, str]:
    """Name and password (RFC 7617). Raises NotKnown."""
    try:
        if len(value) > _CREDENTIALS_LIMIT:
            raise ValueError
        name, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (ValueError, binascii.Error):
        colon = name = password = ""
    if not colon:
        raise NotKnown("the credentials cannot be understood")
    return name, password
