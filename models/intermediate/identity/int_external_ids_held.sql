{#
    Who held an external id when. A deletion frees the id for another customer. Usage from before the first holder, or
    between two, belongs to the next holder: Polar attaches it once that customer exists.
#}

with

customers as (

    select * from {{ ref('int_customers_merged') }}
    where external_customer_id is not null

),

{# Two living holders cannot be: where a deletion was not seen, the next creation stands for it. #}
released_ids as (

    select
        organization_id,
        external_customer_id,
        customer_id,
        customer_key,
        least(
            coalesce(deleted_at, timestamp 'infinity'),
            coalesce(lead(created_at) over held_order, timestamp 'infinity')
        ) as held_to_at,
        row_number() over held_order as holder_number
    from customers
    window held_order as (
        partition by organization_id, external_customer_id order by created_at nulls first, customer_id
    )

),

held_ids as (

    select
        organization_id,
        external_customer_id,
        customer_id,
        customer_key,
        coalesce(
            lag(held_to_at) over (partition by organization_id, external_customer_id order by holder_number),
            timestamp '-infinity'
        ) as held_from_at,
        held_to_at
    from released_ids

)

select * from held_ids
where held_from_at < held_to_at
