{#
    No key of raw.events repeats. Every table of events is keyed by it, and tests that look at changed rows only rely on
    new rows having new keys: this is where that is seen, on eight bytes a key. Two keys may share those, so what repeats
    is compared whole. Only keys of loads that no build has tested can repeat anew.
#}

with

{# Kept whole, a table that is named twice would be read whole. #}
event_keys as not materialized (

    select * from {{ source('raw', 'event_keys') }}

),

new_keys as (

    select * from event_keys
    where load_id > {{ last_tested_load() }}

),

{# Nearly always none. #}
repeated_hashes as (

    select event_keys.key_hash
    from event_keys
    semi join new_keys on event_keys.key_hash = new_keys.key_hash
    group by event_keys.key_hash
    having count(*) > 1

),

{# The loads to look into. #}
repeated_keys as (

    select distinct
        key_hash,
        load_id
    from event_keys
    semi join repeated_hashes on event_keys.key_hash = repeated_hashes.key_hash

),

candidates as (

    select
        events.record_key,
        events.load_id
    from {{ source('raw', 'events') }} as events
    semi join repeated_keys
        on
            events.load_id = repeated_keys.load_id
            and cast(cast(events.record_key as uhugeint) >> 64 as ubigint) = repeated_keys.key_hash

)

select
    record_key,
    list(load_id order by load_id) as load_ids
from candidates
group by record_key
having count(*) > 1
