with

usage_events as (

    select * from {{ ref('int_usage_events_counted') }}

),

customers as (

    select * from {{ ref('int_customers_merged') }}

),

held_ids as (

    select * from {{ ref('int_external_ids_held') }}

),

known_members as (

    select * from {{ ref('stg_polar__members') }}

),

attributed_events as (

    select
        usage_events.* exclude (customer_id),
        coalesce(customers.customer_id, held_ids.customer_id) as known_customer_id,
        {{ joined_customer_key('usage_events') }} as customer_key,
        coalesce(usage_events.customer_id, held_ids.customer_id) as customer_id,
        case
            when customers.customer_key is not null then 'customer_id'
            when held_ids.customer_key is not null then 'external_customer_id'
            else 'unknown_customer'
        end as attribution
    from usage_events
    {{ join_customers('usage_events') }}

),

member_sightings as (

    select
        organization_id,
        customer_key,
        external_member_id,
        member_id
    from attributed_events
    union all
    select
        known_members.organization_id,
        customers.customer_key,
        known_members.external_member_id,
        known_members.member_id
    from known_members
    inner join customers
        on
            known_members.organization_id = customers.organization_id
            and known_members.customer_id = customers.customer_id

),

{# A member seen under both ids is one member. #}
member_pairs as (

    select
        organization_id,
        customer_key,
        external_member_id,
        min(member_id) as member_id
    from member_sightings
    where member_id is not null and external_member_id is not null
    group by organization_id, customer_key, external_member_id

),

member_attributed_events as (

    select
        attributed_events.* exclude (member_id),
        coalesce(attributed_events.member_id, member_pairs.member_id) as member_id,
        case
            when coalesce(attributed_events.member_id, member_pairs.member_id) is not null
                then {{ surrogate_key(["'member'", 'attributed_events.organization_id', 'attributed_events.customer_key', 'coalesce(attributed_events.member_id, member_pairs.member_id)']) }}
            when attributed_events.external_member_id is not null
                then {{ surrogate_key(["'external_member'", 'attributed_events.organization_id', 'attributed_events.customer_key', 'attributed_events.external_member_id']) }}
            else 'unattributed'
        end as member_key
    from attributed_events
    left join member_pairs
        on
            attributed_events.organization_id = member_pairs.organization_id
            and attributed_events.customer_key = member_pairs.customer_key
            and attributed_events.external_member_id = member_pairs.external_member_id

)

select * from member_attributed_events
