{# Eight bytes of an event's name within its organization; a child's reference is hashed as Polar would write an id. #}
{% macro name_hash(organization_id, name) -%}
    hash({{ organization_id }}, {{ polar_id(name) }})
{%- endmacro %}
