{#
    Every input record ends in exactly one of landed, duplicate, conflict and quarantined, and what the ledger counts as
    landed, conflicting or quarantined is there. Otherwise records are lost or counted twice and no total can be believed.
    A contradiction that comes again is counted again and stored once, so fewer conflicts may be stored than counted.
#}

with

loads as (

    select * from {{ source('raw', 'loads') }}

),

stored_records as (

    select
        load_id,
        file_number,
        count(*) filter (where stored_as = 'landed') as stored_landed,
        count(*) filter (where stored_as = 'conflict') as stored_conflict,
        count(*) filter (where stored_as = 'quarantined') as stored_quarantined
    from (
        select load_id, file_number, 'landed' as stored_as from {{ source('raw', 'events') }}
        union all
        select load_id, file_number, 'landed' as stored_as from {{ source('raw', 'resources') }}
        union all
        select load_id, file_number, 'conflict' as stored_as from {{ source('raw', 'conflicts') }}
        union all
        select load_id, file_number, 'quarantined' as stored_as from {{ source('raw', 'quarantine') }}
    )
    group by load_id, file_number

)

select
    coalesce(loads.load_id, stored_records.load_id) as load_id,
    coalesce(loads.file_number, stored_records.file_number) as file_number,
    loads.file_name,
    loads.records,
    loads.landed,
    loads.duplicate,
    loads.conflict,
    loads.quarantined,
    stored_records.stored_landed,
    stored_records.stored_conflict,
    stored_records.stored_quarantined
from loads
full outer join stored_records
    on
        loads.load_id = stored_records.load_id
        and loads.file_number = stored_records.file_number
where
    loads.records is distinct from loads.landed + loads.duplicate + loads.conflict + loads.quarantined
    or loads.landed is distinct from coalesce(stored_records.stored_landed, 0)
    or not coalesce(loads.conflict >= coalesce(stored_records.stored_conflict, 0), false)
    or loads.quarantined is distinct from coalesce(stored_records.stored_quarantined, 0)
