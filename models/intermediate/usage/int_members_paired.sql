{# One row per customer and external member id whose Polar id is known: a member seen under both ids is one member. #}

with

customers as (

    select * from {{ ref('int_customers_merged') }}

),

known_members as (

    select * from {{ ref('stg_polar__members') }}

),

sightings as (

    select
        organization_id,
        customer_key,
        external_member_id,
        member_id
    from {{ ref('int_member_sightings') }}
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
    where known_members.external_member_id is not null

)

select
    organization_id,
    customer_key,
    external_member_id,
    min(member_id) as member_id
from sightings
group by organization_id, customer_key, external_member_id
