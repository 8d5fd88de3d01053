{#
    Polar's id of an event. It is a UUID, and kept as one: text that never repeats takes more than five times as long to
    write. What another writer calls an event stays text, in a column of its own.
#}
{% macro event_id(events) -%}
    coalesce({{ events }}.other_event_id, cast({{ events }}.event_uuid as varchar))
{%- endmacro %}


{# The UUID that a text is, if it is written as Polar writes UUIDs; null of all others, which a cast may read too. #}
{% macro canonical_uuid(expression) -%}
    (
        case when cast(try_cast({{ expression }} as uuid) as varchar) = {{ expression }} then try_cast({{ expression }} as uuid) end
    )
{%- endmacro %}
