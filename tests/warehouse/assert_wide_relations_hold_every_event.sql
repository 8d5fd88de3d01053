{#
    A wide relation has one row per event of its name: with one missing or twice, counts and sums from it are wrong. Each
    event is looked for where usage was made anew. Else the numbers of rows are compared: what changed was deleted and
    inserted by the same keys, so a row too many or too few shows in them.
#}
{% set is_whole = changes_to_test(ref('usage_events')) is none %}
{% set daily, events = ref('usage_daily'), ref('usage_events') %}

-- depends_on: {{ ref('metadata_columns') }}

with

wide_events as (

    select
        relation_name,
        {{ "usage_event_key" if is_whole else "cast(null as uuid)" }} as usage_event_key,
        {{ "1" if is_whole else "count(*)" }} as row_count
    from {{ source('raw', 'wide_events') }}
    {%- if not is_whole %}
    group by relation_name
    {%- endif %}

),

relations as (

    select * from {{ source('raw', 'wide_relations') }}
    where through_load_id is not null

),

usage_events as (

    select
        relations.relation_name,
        {{ 'usage_events.usage_event_key' if is_whole else 'cast(null as uuid)' }} as usage_event_key,
        {{ '1' if is_whole else 'usage_events.event_count' }} as row_count
    from {{ events if is_whole else daily }} as usage_events
    inner join relations on usage_events.event_name = relations.event_name

),

all_rows as (

    select
        relation_name,
        usage_event_key,
        row_count as event_count,
        0 as wide_event_count
    from usage_events
    union all
    select
        relation_name,
        usage_event_key,
        0 as event_count,
        row_count as wide_event_count
    from wide_events

)

select
    relation_name,
    usage_event_key,
    sum(event_count) as event_count,
    sum(wide_event_count) as wide_event_count
from all_rows
group by relation_name, usage_event_key
having sum(event_count) != sum(wide_event_count) or (usage_event_key is not null and sum(event_count) != 1)
