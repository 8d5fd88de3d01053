{{ config(materialized='table') }}

{% set meter -%}
{
    "id": "VARCHAR", "name": "VARCHAR", "filter": "JSON", "aggregation": {"func": "VARCHAR", "property": "VARCHAR"},
    "created_at": "VARCHAR", "modified_at": "VARCHAR", "archived_at": "VARCHAR"
}
{%- endset %}
{% set meter = meter | replace("\n", " ") %}

with

resources as (

    select * from {{ source('raw', 'resources') }}

),

seen_meters as (

    select
        resources.* exclude (payload, modified_at),
        from_json(payload, '{{ meter }}') as meter
    from resources
    where kind = 'meters'
    union all
    select
        resources.* exclude (payload, modified_at),
        unnest(from_json(payload, '{"meters": [{"meter": {{ meter }}}]}').meters).meter as meter
    from resources
    where kind = 'subscriptions'

),

typed_meters as (

    select
        organization_id,
        {{ polar_id('meter.id') }} as meter_id,
        meter.name as meter_name,
        meter.aggregation.func as aggregation_function,
        meter.aggregation.property as aggregation_property,
        cast(meter.filter as varchar) as filter,
        {{ utc('meter.created_at') }} as created_at,
        {{ utc('meter.modified_at') }} as modified_at,
        {{ utc('meter.archived_at') }} as archived_at,
        md5(cast(meter as varchar)) as content_hash,
        webhook_at,
        load_id,
        file_number,
        record_number
    from seen_meters
    where meter.id is not null and meter.filter is not null

),

{# From when to when an earlier version was archived that a later one is not: what came in between was not recorded. #}
archivings as (

    select
        archived.organization_id,
        archived.meter_id,
        archived.archived_at,
        min(later.modified_at) as unarchived_at
    from typed_meters as archived
    inner join typed_meters as later
        on
            archived.organization_id = later.organization_id
            and archived.meter_id = later.meter_id
            and archived.archived_at < later.modified_at
            and coalesce(archived.modified_at < later.modified_at, true)
    where archived.archived_at is not null and later.archived_at is null
    group by archived.organization_id, archived.meter_id, archived.archived_at

),

past_archivings as (

    select
        organization_id,
        meter_id,
        list(struct_pack(archived_at := archived_at, unarchived_at := unarchived_at) order by archived_at) as past_archivings
    from archivings
    group by organization_id, meter_id

),

latest_versions as (

    select * from typed_meters
    {{ latest_version('organization_id, meter_id') }}

)

select
    latest_versions.*,
    past_archivings.past_archivings
from latest_versions
left join past_archivings
    on
        latest_versions.organization_id = past_archivings.organization_id
        and latest_versions.meter_id = past_archivings.meter_id
