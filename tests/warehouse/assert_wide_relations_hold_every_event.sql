{# A wide relation has one row per event of its name: with one missing or twice, counts and sums from it are wrong. #}

-- depends_on: {{ ref('metadata_columns') }}

{% set keys %}
    select
        string_agg(
            'select ''' || relation_name || ''' as relation_name, usage_event_key from marts.' || relation_name, ' union all '
        )
    from {{ source('raw', 'wide_relations') }}
    where through_load_id is not null
{% endset %}
{% set unions = run_query(keys).columns[0].values()[0] if execute else none %}

with

wide_events as (

    {{ unions or 'select null as relation_name, null as usage_event_key where false' }}

),

relations as (

    select * from {{ source('raw', 'wide_relations') }}
    where through_load_id is not null

),

usage_events as (

    select
        usage_events.usage_event_key,
        relations.relation_name
    from {{ ref('usage_events') }} as usage_events
    inner join relations on usage_events.event_name = relations.event_name

)

select
    coalesce(usage_events.relation_name, wide_events.relation_name) as relation_name,
    coalesce(usage_events.usage_event_key, wide_events.usage_event_key) as usage_event_key,
    count(usage_events.usage_event_key) as event_count,
    count(wide_events.usage_event_key) as wide_event_count
from usage_events
full outer join wide_events
    on
        usage_events.relation_name = wide_events.relation_name
        and usage_events.usage_event_key = wide_events.usage_event_key
group by all
having count(usage_events.usage_event_key) != 1 or count(wide_events.usage_event_key) != 1
