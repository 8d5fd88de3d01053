{#
    A merchant's id as the published file has it: as it is, or, with the var `published_external_ids` set to `hashed`, a
    hash over it and its organization, so that it can be compared and not read.
#}
{% macro published_external_id(organization_id, external_id) -%}
    {%- set form = var('published_external_ids') -%}
    {%- if form == 'plain' -%} {{ external_id }}
    {%- elif form == 'hashed' -%}
        case when {{ external_id }} is not null then sha256({{ organization_id }} || chr(31) || {{ external_id }}) end
    {%- else -%}
        {{ exceptions.raise_compiler_error("The var published_external_ids is 'plain' or 'hashed', not '" ~ form ~ "'.") }}
    {%- endif -%}
{%- endmacro %}
