{#
    Joined as it is written: the contents, which are wide, go by what was decided of them, of which DuckDB makes its hash
    tables. Left to itself it would hold all contents in memory.
#}
{{ config(
    materialized='incremental', touched_by='int_usage_events_changed',
    pre_hook="set disabled_optimizers = 'join_order,build_side_probe_side'",
    post_hook="reset disabled_optimizers"
) }}

{# One row per usage event that counts, with its customer, member and tree and everything it carries. #}

with

{# Kept whole, a table that is named twice would be written and read whole; as it stands each reader takes its columns. #}
usage_events as not materialized (

    select * from {{ ref('int_usage_events_counted') }}{{ touched_only('int_usage_events_changed') }}
    where is_counted

),

contents as (

    select * from {{ ref('stg_polar__usage_events') }}{{ touched_only('int_usage_events_changed') }}

),

members as (

    select * from {{ ref('int_members_paired') }}

),

{# A customer has few members, however many the events: each gets its key once. #}
sent_members as (

    select distinct
        organization_id,
        customer_key,
        external_member_id,
        member_id
    from usage_events
    where member_id is not null or external_member_id is not null

),

known_members as (

    select
        sent_members.organization_id,
        sent_members.customer_key,
        sent_members.external_member_id,
        sent_members.member_id as sent_member_id,
        coalesce(sent_members.member_id, members.member_id) as member_id
    from sent_members
    left join members
        on
            sent_members.organization_id = members.organization_id
            and sent_members.customer_key = members.customer_key
            and sent_members.external_member_id = members.external_member_id

),

{# A member seen under both ids is one member. #}
member_keys as (

    select
        customer_key,
        external_member_id,
        sent_member_id,
        member_id,
        case
            when member_id is not null
                then {{ surrogate_key(["'member'", 'organization_id', 'customer_key', 'member_id']) }}
            else {{ surrogate_key(["'external_member'", 'organization_id', 'customer_key', 'external_member_id']) }}
        end as member_key
    from known_members

),

trees as (

    select * from {{ ref('int_usage_event_trees') }}{{ touched_only('int_usage_events_changed') }}

)

select
    contents.load_id,
    contents.file_number,
    contents.record_number,
    contents.usage_event_key,
    contents.organization_id,
    contents.event_uuid,
    contents.other_event_id,
    usage_events.external_id,
    contents.event_name,
    contents.external_customer_id,
    contents.external_member_id,
    {# A customer that Polar knows is known by its key. #}
    case when usage_events.attribution = 'unknown_customer' then usage_events.customer_id end as customer_id,
    usage_events.customer_key,
    usage_events.attribution,
    member_keys.member_id,
    coalesce(member_keys.member_key, {{ unattributed() }}) as member_key,
    {# Of an event that names a parent; the others are their own root, and carry nothing. #}
    trees.usage_event_key is not null as names_parent,
    trees.parent_event_key,
    trees.parent_load_id,
    trees.parent_file_number,
    trees.parent_record_number,
    trees.root_event_key,
    trees.root_load_id,
    trees.root_file_number,
    trees.root_record_number,
    trees.depth,
    contents.cost_amount,
    contents.cost_currency,
    contents.llm_vendor,
    contents.llm_model,
    contents.llm_input_tokens,
    contents.llm_cached_input_tokens,
    contents.llm_output_tokens,
    contents.llm_total_tokens,
    contents.metadata,
    contents.metadata_structure,
    contents.exact_numbers,
    usage_events.received_at_basis,
    usage_events.occurred_at,
    usage_events.received_at,
    usage_events.landed_at
from contents
inner join usage_events
    on
        contents.load_id = usage_events.load_id
        and contents.file_number = usage_events.file_number
        and contents.record_number = usage_events.record_number
left join trees
    on
        contents.load_id = trees.load_id
        and contents.file_number = trees.file_number
        and contents.record_number = trees.record_number
left join member_keys
    on
        usage_events.customer_key = member_keys.customer_key
        and usage_events.external_member_id is not distinct from member_keys.external_member_id
        and usage_events.member_id is not distinct from member_keys.sent_member_id
