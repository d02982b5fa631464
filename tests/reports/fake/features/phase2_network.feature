@phase2
Feature: Network: two links behave as one
  Background:
    Given every node is there

  Scenario: Both links form one bond
    Given the bond is made

  @criterion-1
  Scenario: Every address belongs to one node only

  @criterion-10
  Scenario: The host network is fast
    Then the network is fast

  @criterion-9
  Scenario: Nobody enters with a password
    Then it fails

  @criterion-2
  Scenario: The guests stay out
    Then nobody can tell
