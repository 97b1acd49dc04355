"""What a recorder does before anything else: set right what a kill or a power cut has left, and look for damage."""

from collections.abc import Callable

from device import schema
from device.store import boot_id, database, pictures
from device.store.bounds import Limits
from device.store.facts import Origin
from device.store.pictures import Damage
from device.store.store import Store

HASHED = 64_000_000  # bytes of the newest pictures whose hashes are looked at; of the others the size
NAMED = 100  # damaged items that an audit entry names; the rest is counted


def set_right(
    store: Store, origin: Origin, limits: Limits, say: Callable[[str], None]
) -> tuple[tuple[Damage, ...], int]:
    """Mark studies that were never ended as interrupted, sweep away files without a row, tell the audit log.

    Returns the damaged pictures, whose rows stay, and how many files were swept. Raises OSError and sqlite3.Error.
    """
    connection = store.connection
    left = [one for one in database.studies(connection) if one.ended is None and not one.interrupted]
    if left:
        with store.change() as tell:
            for one in left:
                connection.execute("UPDATE studies SET interrupted = 1 WHERE id = ?", (one.id,))
                tell("study interrupted", study=one.id)
    items = database.items(connection)
    swept = pictures.sweep_away(store.pictures, {item.file for item in items if item.file})
    damaged, hashed = [], 0
    for item in reversed(items):
        hashed += item.bytes or 0
        damage = pictures.look(store.pictures, item, hashed <= HASHED)
        if damage is not None:
            damaged.append(damage)
            say(f"a saved picture is damaged: {damage.why}")
    store.settle()
    about = {"model": origin.model, "bundle": origin.bundle, "settings": origin.settings, "software": origin.software}
    about |= {"limits": schema.dump(limits), "boot": boot_id(), "swept_files": swept}
    about |= {"damaged": len(damaged), "damaged_items": [damage.item.id for damage in damaged[:NAMED]]}
    store.audit.append("started", **about)
    store.note_head()
    return tuple(damaged), swept
